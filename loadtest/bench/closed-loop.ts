import { type Percentiles, percentilesOf } from './figures.js';

/** What came of a closed loop. */
export interface ClosedLoop {
  /** Of one call, in ms. */
  readonly times: Percentiles;
  readonly calls: number;
  readonly perSecond: number;
}

/** Keeps so many calls in flight for so long: each is followed by the next once it is answered. */
export async function closedLoop(
  inFlight: number,
  seconds: number,
  call: (place: number) => Promise<void>,
): Promise<ClosedLoop> {
  const times: number[] = [];
  const begun = performance.now();
  const end = begun + seconds * 1000;
  const one = async (place: number): Promise<void> => {
    for (let asked = performance.now(); asked < end; ) {
      await call(place);
      const answered = performance.now();
      times.push(answered - asked);
      asked = answered;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, (_, place) => one(place)));
  const elapsedSeconds = (performance.now() - begun) / 1000;
  return { times: percentilesOf(times), calls: times.length, perSecond: times.length / elapsedSeconds };
}

/** The child's side of `Started.ask`: one job at a time. */
export function serveJobs<Job>(work: (job: Job) => Promise<unknown>): void {
  process.on('message', (job: Job) => {
    work(job).then(
      (result) => process.send?.({ type: 'result', result }),
      (error: unknown) => process.send?.({ type: 'failed', error: String(error) }),
    );
  });
  process.on('SIGTERM', () => process.exit(0));
  process.on('disconnect', () => process.exit(0));
  process.send?.({ type: 'listening' });
}
