/** The lease or the head is not ours any more: nothing this owner holds in memory counts. */
export class FencedError extends Error {
  constructor(what: string) {
    super(what);
    this.name = 'FencedError';
  }
}
