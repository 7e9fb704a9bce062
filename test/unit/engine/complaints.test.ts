import { expect } from 'chai';
import { pino } from 'pino';
import { Complaints } from '../../../consumer/engine/complaints.js';
import type { StepOutcome } from '../../../consumer/engine/fold-step.js';
import { until } from '../../support/redis-server.js';

const WINDOW_MS = 50;

const step = (changes: Partial<StepOutcome>): StepOutcome => ({
  ...{ consumed: 0, messages: 0, duplicates: 0, accepted: 0, documents: new Map(), effects: [] },
  ...{ firedTimers: [], deadLetters: [], reservations: [], exceptions: {} },
  ...changes,
});

const letter = (n: number) => ({
  ...({ kind: 'message', text: `{"secret":${n}}`, error: `Error: ${n}`, attempts: 1, at: n } as const),
  message: { id: `m${n}`, type: 'purchase_made', subject: 'u', data: { card: 'secret' }, request: `r${n}` },
});

const failed = (rule: string) =>
  ({ kind: 'count', metric: 'rule_errors', rule, error: `${rule} threw` }) as const;

describe('the complaints of a worker', () => {
  let lines: Record<string, unknown>[];
  let complaints: Complaints;
  beforeEach(() => {
    lines = [];
    const write = (line: string): void => {
      const { msg, level, time: _time, pid: _pid, hostname: _host, ...rest } = JSON.parse(line);
      expect(level).to.equal(50);
      lines.push({ msg, ...rest });
    };
    complaints = new Complaints(pino({}, { write }), WINDOW_MS);
  });

  it('tell each dead letter with its reason, and nothing of what is in it', () => {
    complaints.committed('usage.3', step({ deadLetters: [letter(1)] }));
    complaints.deadLetters('usage.4', [{ kind: 'row', error: 'refused', attempts: 1 }]);
    expect(lines).to.deep.equal([
      {
        ...{ msg: 'dead letter', partition: 'usage.3', kind: 'message', error: 'Error: 1', attempts: 1 },
        ...{ id: 'm1', type: 'purchase_made', request: 'r1' },
      },
      { msg: 'dead letter', partition: 'usage.4', kind: 'row', error: 'refused', attempts: 1 },
    ]);
  });

  it('write the first five lines of each partition and of each rule, then how many were left out, then anew', async () => {
    const deadLetters = Array.from({ length: 8 }, (_, n) => letter(n));
    const effects = [...Array.from({ length: 7 }, () => failed('a')), failed('b')];
    complaints.committed('events.0', step({ deadLetters, effects }));
    complaints.committed('events.1', step({ deadLetters: [letter(9)], effects: [failed('a')] }));
    const count = (msg: string, by: object) =>
      lines.filter(
        (line) => line['msg'] === msg && Object.entries(by).every(([key, value]) => line[key] === value),
      ).length;
    expect(count('dead letter', { partition: 'events.0' })).to.equal(5);
    expect(count('dead letter', { partition: 'events.1', id: 'm9' })).to.equal(1);
    expect(count('a rule failed; the others went on', { rule: 'a', error: 'a threw' })).to.equal(5);
    expect(count('a rule failed; the others went on', { rule: 'b' })).to.equal(1);
    await until(2000, 'both are summed up', () =>
      lines.some(({ rule, count }) => rule === 'a' && count === 3),
    );
    expect(lines.slice(12)).to.deep.equal([
      { msg: 'more dead letters, not logged', partition: 'events.0', count: 3 },
      { msg: 'more errors of a rule, not logged', rule: 'a', count: 3 },
    ]);
    complaints.committed('events.0', step({ deadLetters: [letter(10)] }));
    expect(lines.at(-1)).to.include({ msg: 'dead letter', id: 'm10' });
  });
});
