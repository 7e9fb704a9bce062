import { expect } from 'chai';
import { CompiledQuery } from 'kysely';
import type pg from 'pg';
import { TenantDriver, tenantProof } from '../../../shared/postgres/tenant-driver.js';

interface Sent {
  readonly text: string;
  readonly values: readonly unknown[];
}

async function errorOf(work: Promise<unknown>): Promise<Error> {
  try {
    await work;
  } catch (error) {
    return error as Error;
  }
  throw new Error('it did not fail');
}

describe('the driver of a tenant’s transactions', () => {
  let tenant: string;
  let sent: Sent[];
  let released: unknown[];
  let driver: TenantDriver;
  beforeEach(() => {
    tenant = 'acme';
    sent = [];
    released = [];
    const client = {
      query: async (query: Sent) => {
        sent.push(query);
        return { rows: [] };
      },
      release: (error?: Error) => released.push(error),
    };
    driver = new TenantDriver({ connect: async () => client } as unknown as pg.Pool, 'key', () => tenant);
  });

  const query = CompiledQuery.raw('SELECT 1');

  it('begins with the tenant and its proof, both parameters', async () => {
    const connection = await driver.acquireConnection();
    await driver.beginTransaction(connection);
    expect(sent.map(({ values }) => values)).to.deep.equal([[], ['acme', tenantProof('acme', 'key')]]);
    expect(sent[0]!.text).to.match(/^START TRANSACTION .* READ ONLY$/);
  });

  it('answers nothing once the transaction has ended, though its client has another', async () => {
    const connection = await driver.acquireConnection();
    await driver.beginTransaction(connection);
    await connection.executeQuery(query);
    await driver.commitTransaction(connection);
    await driver.releaseConnection(connection);
    const before = sent.length;
    expect((await errorOf(connection.executeQuery(query))).message).to.equal('the transaction is over');
    expect(sent).to.have.length(before);
    expect(released).to.deep.equal([undefined]);
  });

  it('answers nothing to another tenant', async () => {
    const connection = await driver.acquireConnection();
    await driver.beginTransaction(connection);
    tenant = 'globex';
    const error = await errorOf(connection.executeQuery(query));
    expect(error.message).to.equal('the transaction is of another tenant');
    expect(sent).to.have.length(2);
  });

  it('closes a client whose transaction never ended', async () => {
    const connection = await driver.acquireConnection();
    await driver.beginTransaction(connection);
    await driver.releaseConnection(connection);
    await new Promise((resolve) => setImmediate(resolve));
    expect(released[0]).to.be.instanceOf(Error);
  });
});
