import { expect } from 'chai';
import fc from 'fast-check';
import { assignPartitions } from '../../../consumer/engine/assign.js';

const PARTITIONS = Array.from({ length: 8 }, (_, index) => `events.${index}`);
const workersArbitrary = fc.uniqueArray(fc.string({ minLength: 1, maxLength: 12 }), {
  minLength: 1,
  maxLength: 12,
});

describe('assignPartitions', () => {
  it('gives every partition to exactly one worker, nobody more than one more than anybody else, of a topic and in all', () => {
    fc.assert(
      fc.property(workersArbitrary, fc.integer({ min: 1, max: 40 }), (workers, count) => {
        const topics = ['events', 'usage', 'jobs'];
        const partitions = topics.flatMap((topic) =>
          Array.from({ length: count }, (_, index) => `${topic}.${index}`),
        );
        const assigned = assignPartitions(workers, partitions);
        expect([...assigned.values()].flat().sort()).to.deep.equal([...partitions].sort());
        for (const prefix of ['', ...topics]) {
          const loads = workers.map(
            (worker) => assigned.get(worker)!.filter((partition) => partition.startsWith(prefix)).length,
          );
          expect(Math.max(...loads) - Math.min(...loads), prefix).to.be.at.most(1);
        }
      }),
    );
  });

  it('is the same whatever the order in which the workers are listed', () => {
    fc.assert(
      fc.property(workersArbitrary, (workers) => {
        const one = assignPartitions(workers, PARTITIONS);
        const other = assignPartitions([...workers].reverse(), PARTITIONS);
        for (const worker of workers) expect(other.get(worker)).to.deep.equal(one.get(worker));
      }),
    );
  });

  it('moves only some partitions when a worker joins', () => {
    const before = assignPartitions(['a', 'b', 'c'], PARTITIONS);
    const after = assignPartitions(['a', 'b', 'c', 'd'], PARTITIONS);
    const kept = ['a', 'b', 'c'].flatMap((worker) =>
      before.get(worker)!.filter((partition) => after.get(worker)!.includes(partition)),
    );
    expect(kept.length).to.be.at.least(4);
  });

  it('gives nothing to nobody', () => {
    expect(assignPartitions([], PARTITIONS).size).to.equal(0);
  });
});
