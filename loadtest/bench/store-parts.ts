import { type ArchiveRate, measureArchiveRate } from './archive-rate.js';
import { type Bench, scaled } from './bench.js';
import { compare, type Figures, figuresOf, inThousands } from './figures.js';
import { type InsertRate, measureInsertRate } from './insert-rate.js';
import { CONTENDERS, type LockContention, lockContention } from './lock-contention.js';
import { inDatabase, startPostgres } from './postgres-server.js';
import { comparisonRow, type Row, shownPercentiles, shownRatio } from './report.js';
import { measureRlsCost } from './rls-cost.js';

const ROWS = 100_000;
/** Partitions archived at once; the peer has as many connections. */
const PARTITIONS = 2;
const LOCK_SECONDS = 1;
const LOCK_ROUNDS_MAX = 3;

export async function insertPart(bench: Bench): Promise<Row[]> {
  const postgres = await startPostgres();
  try {
    const rows = scaled(bench, ROWS, 1000);
    const ours = (url: string) => measureArchiveRate({ url }, { events: rows, partitions: PARTITIONS });
    const theirs = (url: string) => measureInsertRate({ url }, { rows, connections: PARTITIONS });
    const rounds: [ours: ArchiveRate, peer: InsertRate][] = [];
    for (let round = 0; round < bench.rounds; round += 1) {
      if (round % 2 === 0) {
        rounds.push([await inDatabase(postgres, ours), await inDatabase(postgres, theirs)]);
      } else {
        const peer = await inDatabase(postgres, theirs);
        rounds.push([await inDatabase(postgres, ours), peer]);
      }
    }
    const rates = rounds.map(([a, b]): [number, number] => [a.rowsPerSecond, b.rowsPerSecond]);
    const cpu = compare(rounds.map(([a, b]) => [a.cpuMicrosPerRow, b.cpuMicrosPerRow]));
    const what = `rows into Postgres by the archive, ${PARTITIONS} partitions at once; INSERT … SELECT unnest, 500 rows`;
    return [
      comparisonRow('h', what, compare(rates)),
      {
        part: 'h',
        what: 'CPU of the writing process per row, Postgres besides',
        ours: `${cpu.ours.median.toFixed(1)} µs`,
        peer: `${cpu.peer.median.toFixed(1)} µs`,
        ratio: (cpu.peer.median / cpu.ours.median).toFixed(2),
      },
    ];
  } finally {
    await postgres.stop();
  }
}

export async function lockPart(bench: Bench): Promise<Row[]> {
  const rounds: LockContention[][] = [];
  for (let round = 0; round < Math.min(bench.rounds, LOCK_ROUNDS_MAX); round += 1) {
    const measured: LockContention[] = [];
    for (const contenders of CONTENDERS) {
      measured.push(await lockContention(bench.redis, contenders, Math.max(0.3, LOCK_SECONDS * bench.scale)));
    }
    rounds.push(measured);
  }
  return CONTENDERS.map((contenders, column): Row => {
    const each = rounds.map((round) => round[column]!);
    const { ours, ratio } = compare(rounds.map((round) => [round[column]!.perSecond, round[0]!.perSecond]));
    const p50 = figuresOf(each.map(({ waitMs }) => waitMs.p50)).median;
    const p99 = figuresOf(each.map(({ waitMs }) => waitMs.p99)).median;
    return {
      part: 'k',
      what: `named lock acquired and released, ${contenders === 1 ? 'one contender' : `${contenders} contenders`}`,
      ours: `${inThousands(ours)}, wait ${shownPercentiles({ p50, p99 })}`,
      ...(contenders === 1 ? {} : { ratio: `${shownRatio(ratio)} of one contender` }),
    };
  });
}

const RLS_QUERIES = { windows: '20 windows of a customer', receipt: 'the receipt of an event' } as const;

export async function rlsPart({ rounds }: Bench): Promise<Row[]> {
  const micros = ({ min, median, max }: Figures) =>
    `${median.toFixed(0)} µs (${min.toFixed(0)}-${max.toFixed(0)})`;
  const costs = await measureRlsCost(rounds);
  return costs.flatMap(({ query, bound, unbound, bare }): Row[] => [
    {
      part: 'l',
      what: `${RLS_QUERIES[query]}, row level security; the same transaction, no policies`,
      ours: micros(bound),
      peer: micros(unbound),
      ratio: (bound.median / unbound.median).toFixed(2),
    },
    {
      part: 'l',
      what: 'the same; the query alone, no transaction, no tenant',
      ours: micros(bound),
      peer: micros(bare),
      ratio: (bound.median / bare.median).toFixed(2),
    },
  ]);
}
