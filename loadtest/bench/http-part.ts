import { type Part, scaled } from './bench.js';
import type { HttpLoadJob } from './http-load.js';
import { CONNECTIONS, httpRatio } from './http-ratio.js';
import { comparisonRow, type Row } from './report.js';

const SECONDS = 3;
const RATIO_GOAL = 0.8;

/** Requests per second of a call, and of the bare Fastify handler that does as much. */
export function httpPart(part: string, call: string, requests: HttpLoadJob['requests']): Part {
  return async (bench) => {
    const { redis, rounds } = bench;
    const result = await httpRatio(redis, { requests, rounds, seconds: scaled(bench, SECONDS) });
    const rows: Row[] = [
      comparisonRow(part, `${call}, ${CONNECTIONS} connections; bare Fastify`, result, RATIO_GOAL),
    ];
    const { cpu } = result;
    if (cpu !== undefined) {
      rows.push({
        part,
        what: 'CPU of the server process per request',
        ours: `${cpu.ours.median.toFixed(1)} µs`,
        peer: `${cpu.peer.median.toFixed(1)} µs`,
        ratio: (cpu.peer.median / cpu.ours.median).toFixed(2),
      });
    }
    return rows;
  };
}
