/** Large answers made at a time: each holds up to 16 MiB of groups, or 25 MB of rows, and as much once more at its end. */
const LARGE_MAX = 4;
/** Of one tenant: the others are to have their turn. */
const LARGE_OF_TENANT_MAX = 2;

/** Bounds how many answers that take more than a piece are in the making, for this process and for each tenant. */
export class LargeAnswers {
  private readonly making = new Map<string, number>();
  private total = 0;

  constructor(
    readonly max = LARGE_MAX,
    readonly ofTenantMax = LARGE_OF_TENANT_MAX,
  ) {}

  /** Begins one, to be ended with `end`. @returns false where there is no room for it: then nothing has begun */
  begin(tenant: string): boolean {
    const making = this.making.get(tenant) ?? 0;
    if (this.total >= this.max || making >= this.ofTenantMax) return false;
    this.total++;
    this.making.set(tenant, making + 1);
    return true;
  }

  end(tenant: string): void {
    const making = this.making.get(tenant)!;
    this.total--;
    if (making === 1) this.making.delete(tenant);
    else this.making.set(tenant, making - 1);
  }
}
