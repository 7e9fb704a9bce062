import { runLauncher } from '../../../shared/launcher/run-launcher.js';

/** The launcher with stand-ins for the API and the worker: its own tests need no engine. */
const folder = 'dist/test/support/launcher';
await runLauncher({ api: `${folder}/stand-in-api.js`, worker: `${folder}/stand-in-consumer.js` });
