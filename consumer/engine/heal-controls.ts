import { append, UNBOUNDED } from '../../shared/append/append.js';
import { controlMessage, readControls } from '../../shared/control/control-log.js';
import type { Engine } from './engine.js';
import type { PartitionRunner } from './partition-runner.js';

/** A control message younger than this may still be on its way from the API process that accepted it. */
const GRACE_MS = 2000;

/**
 * Control messages go to every partition, one append each; an API process that dies in between leaves some
 * without. The owner of a partition compares what it has applied with the control log and appends what is
 * missing to its own stream, once. That it may be sent twice is harmless: the id is the same.
 */
export class ControlHealer {
  /** What is known of an owner's partition; gone with the owner, because the head may go back with it. */
  private readonly known = new WeakMap<PartitionRunner, { healedUpTo: string; readonly sent: Set<string> }>();

  constructor(private readonly engine: Engine) {}

  async heal(runner: PartitionRunner): Promise<void> {
    const applied = runner.appliedControls();
    // While messages wait, what is missing may be among them.
    if (applied === undefined || runner.backlogMessages > 0) return;
    const known = this.known.get(runner) ?? { healedUpTo: '', sent: new Set<string>() };
    this.known.set(runner, known);
    const { redis, keys } = this.engine;
    const newest = (await redis.xrevrange(keys.controlLog, '+', '-', 'COUNT', 1))[0]?.[0];
    if (newest === undefined || known.healedUpTo === newest) return;
    const [controls, time] = await Promise.all([readControls(redis, keys), redis.time()]);
    const nowMs = Number(time[0]) * 1000;
    const missing = controls.filter(({ control }) => !applied.includes(control));
    for (const control of missing) {
      if (nowMs - Number.parseInt(control.control, 10) < GRACE_MS || known.sent.has(control.control))
        continue;
      const { rule, action } = control;
      this.engine.log.warn(
        { partition: runner.name, control: control.control, rule, action },
        'missing control sent',
      );
      await append(
        redis,
        keys.partition(runner.partition),
        [[JSON.stringify(controlMessage(control))]],
        UNBOUNDED,
      );
      known.sent.add(control.control);
    }
    if (missing.length === 0) known.healedUpTo = newest;
  }
}
