import { countersDocument, hotWindowsIndex, PARTITION_DOCUMENT, windowDocument } from '../../shared/keys.js';

/** Customers whose names are remembered; then it begins anew. */
const CUSTOMERS_MAX = 10_000;
/** Windows of a customer whose names are remembered: events are in the present one, and some are late. */
const WINDOWS_MAX = 8;

interface NamesOfCustomer {
  readonly tenant: string;
  readonly starts: number[];
  /** The documents of an event in the window that begins at `starts[i]`. */
  readonly documents: (readonly [window: string, counters: string, partition: string])[];
  replace: number;
}

/**
 * Names of the documents of usage events. Remembered, because thousands of events of a step are about the same few
 * windows, and a string made anew has to be hashed anew wherever it is looked up.
 */
export class UsageNames {
  readonly windowDocument = windowDocument;
  readonly countersDocument = countersDocument;
  readonly hotWindowsIndex = hotWindowsIndex;
  private readonly customers = new Map<string, NamesOfCustomer>();

  of(
    tenant: string,
    customer: string,
    start: number,
  ): readonly [window: string, counters: string, partition: string] {
    let known = this.customers.get(customer);
    if (known === undefined || known.tenant !== tenant) {
      if (this.customers.size >= CUSTOMERS_MAX) this.customers.clear();
      known = { tenant, starts: [], documents: [], replace: 0 };
      this.customers.set(customer, known);
    }
    const at = known.starts.indexOf(start);
    if (at !== -1) return known.documents[at]!;
    const documents = [
      windowDocument(tenant, start, customer),
      countersDocument(tenant, customer),
      PARTITION_DOCUMENT,
    ] as const;
    known.starts[known.replace] = start;
    known.documents[known.replace] = documents;
    known.replace = (known.replace + 1) % WINDOWS_MAX;
    return documents;
  }
}
