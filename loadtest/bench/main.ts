import { parseArgs } from 'node:util';
import { PARTS } from './parts.js';
import { stopAll } from './processes.js';
import { startRedis } from './redis-server.js';
import { asMarkdown, asText, machine, type Row } from './report.js';

const USAGE = `npm run bench -- [options]
  --only a,c    measure only these parts of a, b, c, … m
  --rounds n    rounds of ours and the peer in turn (default 5)
  --scale s     share of the events and seconds (default 1); 0.02 shows that everything works, no more
  --no-goals    print only; do not fail when a goal is missed
  --markdown    print a table for docs/benchmarks.md
`;
const RUN_MS_MAX = 1_200_000;

function readArguments() {
  const { values } = parseArgs({
    options: {
      only: { type: 'string', default: Object.keys(PARTS).join(',') },
      rounds: { type: 'string', default: '5' },
      scale: { type: 'string', default: '1' },
      'no-goals': { type: 'boolean', default: false },
      markdown: { type: 'boolean', default: false },
    },
  });
  const only = values.only.split(',');
  const rounds = Number(values.rounds);
  if (!only.every((part) => part in PARTS)) throw new Error(`unknown part in ${values.only}`);
  if (!(Number.isInteger(rounds) && rounds >= 1 && rounds <= 100)) throw new Error('--rounds: 1 to 100');
  const scale = Number(values.scale);
  if (!(scale > 0 && scale <= 10)) throw new Error('--scale: above 0, at most 10');
  return { only, rounds, scale, goals: !values['no-goals'], markdown: values.markdown };
}

const say = (text: string): void => {
  process.stderr.write(`${text}\n`);
};

async function run(): Promise<number> {
  const { only, rounds, scale, goals, markdown } = readArguments();
  const redis = await startRedis();
  const rows: Row[] = [];
  let failed = 0;
  for (const part of only) {
    const begun = performance.now();
    try {
      rows.push(...(await PARTS[part]!({ redis, rounds, scale })));
      say(`(${part}) measured in ${((performance.now() - begun) / 1000).toFixed(0)} s`);
    } catch (error) {
      // What the other parts have measured is not lost.
      failed += 1;
      say(`(${part}) failed: ${error instanceof Error ? error.stack : String(error)}`);
    }
  }
  const table = markdown ? asMarkdown(rows) : asText(rows);
  const note = `Median of ${rounds} rounds, least and most in brackets; the ratio is that of each round.`;
  process.stdout.write(`\n${machine(redis.version)}\n${note}\n\n${table}\n`);
  const missed = rows.filter(({ met }) => met === false);
  if (missed.length > 0) say(`\n${missed.length} goal(s) missed`);
  return failed > 0 || (goals && missed.length > 0) ? 1 : 0;
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
