import { expect } from 'chai';
import { shareAsText } from '../../../consumer/engine/share-as-text.js';
import type { Topic } from '../../../shared/topics.js';

describe('a share of the partitions in the log', () => {
  const of = (topic: Topic, ...indexes: number[]) => indexes.map((index) => ({ topic, index }));

  it('is short: by topic, with ranges, in order', () => {
    expect(shareAsText([...of('usage', 1), ...of('events', 5, 10, 2, 0, 1, 3)])).to.equal(
      'events 0-3 5 10, usage 1',
    );
    expect(shareAsText(of('admissions', 7, 6))).to.equal('admissions 6-7');
    expect(shareAsText([])).to.equal('none');
  });
});
