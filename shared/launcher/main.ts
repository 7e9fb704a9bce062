import { runLauncher } from './run-launcher.js';

/** `npm start`: Redis, the workers and the API on this machine, until Ctrl-C. The life of it is in run-launcher. */
await runLauncher({ api: 'dist/api/main.js', worker: 'dist/consumer/main.js' });
