import type { Redis } from 'ioredis';
import { type Keys, PARTITION_DOCUMENT } from '../../shared/keys.js';
import type { Logger } from '../../shared/logging.js';
import { decodePartition } from '../../shared/state/state-codec.js';
import { clearTripwireWindow } from '../../shared/tripwire/tripwire-clear-window.js';
import type { Slots } from '../slots.js';

const LOOK_AGAIN_MS = 1000;
/** Then no worker has been there for ten minutes; what is in the window has left it by its age. */
const LOOKS_MAX = 600;

/**
 * A rollback that was answered with 202 is still under way in some partition. When all of them have finished, the
 * users it lifted must leave the tripwire's window, as they do at once after a 200. If this process ends first they
 * leave it by age, and a rollback asked for again clears it.
 */
export class LateRollbacks {
  /** Rule → control id of the rollback that is followed: the newest covers the older ones. */
  private readonly followed = new Map<string, string>();

  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
    private readonly slots: Slots,
    private readonly log: Logger,
  ) {}

  follow(rule: string, control: string): void {
    this.followed.set(rule, control);
    this.lookLater(rule, control, LOOKS_MAX);
  }

  private lookLater(rule: string, control: string, looksLeft: number): void {
    setTimeout(() => void this.look(rule, control, looksLeft), LOOK_AGAIN_MS).unref();
  }

  private async look(rule: string, control: string, looksLeft: number): Promise<void> {
    if (this.followed.get(rule) !== control) return;
    try {
      if (await this.hasFinished(control)) {
        await clearTripwireWindow(this.redis, this.keys, rule, Number.parseInt(control, 10));
        this.followed.delete(rule);
        return;
      }
    } catch (error) {
      // Redis is away: the next look will tell.
      this.log.debug({ err: error, rule, control }, 'late rollback not looked at');
    }
    if (looksLeft > 1) this.lookLater(rule, control, looksLeft - 1);
    else this.followed.delete(rule);
  }

  private async hasFinished(control: string): Promise<boolean> {
    const texts = await Promise.all(
      this.slots.ofTopic('events').map((slot) => this.redis.get(slot.keys.doc(PARTITION_DOCUMENT))),
    );
    return texts.every((text) => {
      if (text === null) return false;
      const { controls, rollbacks } = decodePartition(text);
      return controls.includes(control) && !rollbacks.some((rollback) => rollback.control === control);
    });
  }
}
