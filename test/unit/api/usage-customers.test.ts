import { expect } from 'chai';
import { Customers } from '../../../api/usage/customers.js';
import { slots } from './usage-events.js';

describe('Customers', () => {
  it('remembers a bounded number, and any of them again', () => {
    const customers = new Customers(slots, 3);
    const add = (tenant: string, name: string) => customers.add(tenant, name, JSON.stringify(name));
    const known = (names: readonly string[]): string[] =>
      names.filter((name) => customers.get('acme', name) !== undefined);
    for (const name of ['a', 'b', 'c']) add('acme', name);
    expect(known(['a', 'b', 'c'])).to.deep.equal(['a', 'b', 'c']);
    const fourth = add('globex', 'a');
    expect(known(['a', 'b', 'c'])).to.deep.equal([]);
    expect(customers.get('globex', 'a')).to.equal(fourth);
    expect(add('acme', 'a').slot).to.equal(slots.ofCustomer('acme', 'a'));
  });

  it('knows nobody under names that objects have', () => {
    const customers = new Customers(slots);
    for (const name of ['__proto__', 'constructor']) {
      expect(customers.get(name, name)).to.equal(undefined);
      customers.add('acme', name, JSON.stringify(name));
      expect(customers.get('acme', name)?.head).to.equal(
        `{"type":"usage","tenant":"acme","subject":"${name}","id":`,
      );
    }
  });
});
