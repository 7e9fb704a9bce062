import type { Expression, ExpressionBuilder, SqlBool } from 'kysely';
import type { Schema } from '../schema.js';
import { currentTenant } from '../tenant-context.js';

/** A condition on rows of one of these tables, to be handed to `where`, which takes any number of them. */
type Filter<Table extends keyof Schema> = (eb: ExpressionBuilder<Schema, Table>) => Expression<SqlBool>;

type Tenanted = 'aggregation_windows' | 'usage_events' | 'budget_versions';

/**
 * Row level security says the same. Said here too, so that a query cannot even be made outside of a tenant's
 * context, and so that in a role without policies, too, it sees one tenant only.
 * @throws TenantRequired
 */
export function ofTenant(): Filter<Tenanted> {
  const tenant = currentTenant();
  return (eb) => eb('tenant_id', '=', tenant);
}

/**
 * A customer by its external id. A subquery and not a join: it is evaluated once, and what it filters is still
 * read in the order of its index. Served by customers_tenant_id_external_id_key.
 * @throws TenantRequired
 */
export function ofCustomer(externalId: string): Filter<Tenanted> {
  const tenant = currentTenant();
  return (eb) =>
    eb(
      'customer_id',
      '=',
      eb
        .selectFrom('customers')
        .select('customers.id')
        .where('customers.tenant_id', '=', tenant)
        .where('customers.external_id', '=', externalId),
    );
}

/** Windows that start in [from, to), ms since the epoch. */
export function startingIn(from: number, to: number): Filter<'aggregation_windows'> {
  return (eb) => eb.and([eb('window_start', '>=', new Date(from)), eb('window_start', '<', new Date(to))]);
}

/** Windows that start at one of these times, ms since the epoch. */
export function startingAt(starts: readonly number[]): Filter<'aggregation_windows'> {
  return (eb) =>
    eb(
      'window_start',
      'in',
      starts.map((start) => new Date(start)),
    );
}
