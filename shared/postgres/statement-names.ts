/** Prepared statements that one connection keeps at most; each costs the server some 10 kB and more. */
const STATEMENTS_MAX = 100;

/**
 * Names for prepared statements: a query sent under a name is parsed and planned once a connection, not every time,
 * which is most of what a short query costs (docs/multi-tenancy.md has figures). Texts come from code and are few; what
 * comes after the first hundred is sent without a name.
 */
export class StatementNames {
  private readonly names = new Map<string, string>();

  nameOf(text: string): string | undefined {
    const known = this.names.get(text);
    if (known !== undefined || this.names.size >= STATEMENTS_MAX) return known;
    const name = `weir-${this.names.size}`;
    this.names.set(text, name);
    return name;
  }
}
