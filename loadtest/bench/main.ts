import { parseArgs } from 'node:util';
import { PARTS } from './parts.js';
import { stopAll } from './processes.js';
import { startRedis } from './redis-server.js';
import { asMarkdown, asText, machine, type Row } from './report.js';

const USAGE = `npm run bench -- [options]
  --only a,c    measure only these parts of a, b, c, d, e
  --rounds n    rounds of ours and the peer in turn (default 5)
  --no-goals    print only; do not fail when a goal is missed
  --markdown    print a table for docs/benchmarks.md
`;
const RUN_MS_MAX = 350_000;

function readArguments() {
  const { values } = parseArgs({
    options: {
      only: { type: 'string', default: Object.keys(PARTS).join(',') },
      rounds: { type: 'string', default: '5' },
      'no-goals': { type: 'boolean', default: false },
      markdown: { type: 'boolean', default: false },
    },
  });
  const only = values.only.split(',');
  const rounds = Number(values.rounds);
  if (!only.every((part) => part in PARTS)) throw new Error(`unknown part in ${values.only}`);
  if (!(Number.isInteger(rounds) && rounds >= 1 && rounds <= 100)) throw new Error('--rounds: 1 to 100');
  return { only, rounds, goals: !values['no-goals'], markdown: values.markdown };
}

const say = (text: string): void => {
  process.stderr.write(`${text}\n`);
};

async function run(): Promise<number> {
  const { only, rounds, goals, markdown } = readArguments();
  const redis = await startRedis();
  const rows: Row[] = [];
  for (const part of only) {
    const begun = performance.now();
    rows.push(...(await PARTS[part]!(redis, rounds)));
    say(`(${part}) measured in ${((performance.now() - begun) / 1000).toFixed(0)} s`);
  }
  const table = markdown ? asMarkdown(rows) : asText(rows);
  const note = `Median of ${rounds} rounds, least and most in brackets; the ratio is that of each round.`;
  process.stdout.write(`\n${machine(redis.version)}\n${note}\n\n${table}\n`);
  const missed = rows.filter(({ met }) => met === false);
  if (missed.length > 0) say(`\n${missed.length} goal(s) missed`);
  return goals && missed.length > 0 ? 1 : 0;
}

async function finish(code: number): Promise<never> {
  await stopAll();
  process.exit(code);
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => void finish(130));
setTimeout(() => {
  say(`not finished within ${RUN_MS_MAX / 1000} s`);
  void finish(1);
}, RUN_MS_MAX).unref();
run().then(finish, (error: unknown) => {
  say(`${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`);
  void finish(1);
});
