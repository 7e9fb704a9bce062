import { setImmediate as turn } from 'node:timers/promises';
import { expect } from 'chai';
import type { Kysely, Transaction } from 'kysely';
import type pg from 'pg';
import { findReceipts } from '../../../shared/postgres/repositories/receipts-repository.js';
import type { Schema } from '../../../shared/postgres/schema.js';
import {
  currentTenant,
  TenantDatabase,
  TenantRequired,
  withTenant,
} from '../../../shared/postgres/tenant-context.js';

async function errorOf(work: () => Promise<unknown>): Promise<unknown> {
  try {
    await work();
  } catch (error) {
    return error;
  }
  throw new Error('it did not fail');
}

const ANY = { customer: undefined, source: undefined };

describe('the tenant context', () => {
  it('is carried through awaits, timers and callbacks, each call its own', async () => {
    const seen = await Promise.all(
      ['a', 'b', 'c'].map((tenant) =>
        withTenant(tenant, async () => {
          await turn();
          const later = new Promise<string>((resolve) => {
            setTimeout(() => resolve(currentTenant()), 1);
          });
          return [currentTenant(), await later, await Promise.resolve().then(currentTenant)];
        }),
      ),
    );
    expect(seen).to.deep.equal([
      ['a', 'a', 'a'],
      ['b', 'b', 'b'],
      ['c', 'c', 'c'],
    ]);
  });

  it('is required: outside there is none, nor is there one afterwards', async () => {
    expect(() => currentTenant()).to.throw(TenantRequired);
    await withTenant('a', async () => undefined);
    expect(() => currentTenant()).to.throw(TenantRequired);
  });

  it('may be entered again for the same tenant, never for another', async () => {
    expect(await withTenant('a', () => withTenant('a', async () => currentTenant()))).to.equal('a');
    const error = await errorOf(() => withTenant('a', () => withTenant('b', async () => currentTenant())));
    expect(error).to.be.instanceOf(TenantRequired);
  });

  for (const name of ['', 'a:b', 'a b', "a'--", 'ä', 'a'.repeat(65), 'a\n']) {
    it(`takes names of tenants only, not ${JSON.stringify(name)}`, async () => {
      expect(await errorOf(async () => withTenant(name, async () => 'ran'))).to.be.instanceOf(TenantRequired);
    });
  }
});

describe('a repository', () => {
  const untouchable = {
    connect: () => Promise.reject(new Error('a connection was asked for')),
  } as unknown as pg.Pool;
  const database = new TenantDatabase(untouchable, 'key');

  it('cannot be reached without a tenant: TenantRequired, before a connection is taken', async () => {
    const error = await errorOf(() => database.transaction((trx) => findReceipts(trx, 'e', ANY)));
    expect(error).to.be.instanceOf(TenantRequired);
  });

  it('cannot be called with anything but a tenant’s transaction: the compiler refuses', () => {
    // Never run: these lines are a test of the types, and an unused directive fails the build.
    const misuses = (kysely: Kysely<Schema>, plain: Transaction<Schema>, pool: pg.Pool) => [
      // @ts-expect-error no transaction
      findReceipts(undefined, 'e', ANY),
      // @ts-expect-error a connection without a tenant
      findReceipts(kysely, 'e', ANY),
      // @ts-expect-error a transaction that TenantDatabase did not make
      findReceipts(plain, 'e', ANY),
      // @ts-expect-error the driver's pool
      findReceipts(pool, 'e', ANY),
      // @ts-expect-error the database instead of a transaction
      findReceipts(database, 'e', ANY),
    ];
    expect(misuses).to.be.a('function');
  });
});
