/** Something the person who typed `npm start` can put right: shown as its message alone, without a stack. */
export class LauncherError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'LauncherError';
  }
}
