import { SetupError } from '../setup-error.js';

/** Something the person who typed `npm start` can put right. */
export class LauncherError extends SetupError {}
