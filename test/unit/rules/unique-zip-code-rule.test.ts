import { expect } from 'chai';
import { uniqueZipCodeRule } from '../../../rules/restrictions/catalog/unique-zip-code-rule.js';
import { CARDS_MAX } from '../../../rules/restrictions/profile.js';
import { card, overridePut } from './messages.js';
import { SimulatedPartition } from './simulated-partition.js';

const reasonAfter = (...zips: string[]) => {
  const entries = zips.map((zip, index) => card(index, 'u', `card${index}`, zip));
  const { restrictions } = new SimulatedPartition([uniqueZipCodeRule]).run(entries).user('u');
  return restrictions.map(({ reason }) => reason);
};

describe('unique_zip_code_rule', () => {
  it('does not mind two cards with two zip codes', () => {
    expect(reasonAfter('1', '2')).to.deep.equal([]);
  });

  it('restricts purchases at the third card with a third zip code', () => {
    expect(reasonAfter('1', '2', '3')).to.deep.equal(['3 distinct zip codes on 3 cards']);
  });

  it('does not restrict at exactly three zip codes on four cards', () => {
    expect(reasonAfter('1', '1', '2', '3')).to.deep.equal([]);
  });

  it('restricts just above 0.75: four zip codes on five cards', () => {
    expect(reasonAfter('1', '1', '2', '3', '4')).to.deep.equal(['4 distinct zip codes on 5 cards']);
  });

  it('counts the same card once, with its latest zip code', () => {
    const partition = new SimulatedPartition([uniqueZipCodeRule]).run([
      card(1, 'u', 'a', '1'),
      card(2, 'u', 'b', '2'),
      card(3, 'u', 'a', '3'),
    ]);
    expect(partition.user('u').profile.cards).to.deep.equal([
      ['a', '3'],
      ['b', '2'],
    ]);
    expect(partition.user('u').restrictions).to.deep.equal([]);
  });

  it('forgets the cards, and nothing else, when its restriction is lifted', () => {
    const { profile } = new SimulatedPartition([uniqueZipCodeRule])
      .run([1, 2, 3].map((n) => card(n, 'u', `${n}`, `${n}`)))
      .run([overridePut(4, 'u', 'purchase', true)])
      .user('u');
    expect(profile).to.deep.equal({ scamFlags: 0, cards: [], spend: 0n, chargebacks: 0n });
  });

  it('keeps the newest 256 cards of a user and no more', () => {
    const entries = Array.from({ length: CARDS_MAX + 2 }, (_, n) => card(n, 'u', `card${n}`, 'z'));
    const { cards } = new SimulatedPartition([uniqueZipCodeRule]).run(entries).user('u').profile;
    expect(cards.length).to.equal(256);
    expect(cards[0]).to.deep.equal(['card2', 'z']);
    expect(cards.at(-1)).to.deep.equal(['card257', 'z']);
  });
});
