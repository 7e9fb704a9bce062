/**
 * A newer worker wrote it to the outbox, or accepted it in the stream, and a newer worker will carry it on: nothing is taken from there, neither it nor
 * what comes after, until one has the partition.
 */
export class UnknownEntryError extends Error {
  constructor({ id, type, version = 1 }: { id: string; type: string; version?: number }) {
    super(`entry ${id} is none that this worker knows: ${type.slice(0, 100)}, version ${version}`);
    this.name = 'UnknownEntryError';
  }
}
