import type { MeteringContext, WindowSettings } from '../../rules/windows/context.js';
import { foldCountersTimer } from '../../rules/windows/counters.js';
import { parseMeteringTimer } from '../../rules/windows/metering-timer.js';
import { usageEventOf } from '../../rules/windows/usage-event.js';
import { windowStart } from '../../rules/windows/window-document.js';
import { bornAgain, foldArchived, foldUsage, foldWindowTimer } from '../../rules/windows.js';
import { countersDocument, PARTITION_DOCUMENT } from '../../shared/keys.js';
import type { Message } from '../../shared/messages/message.js';
import { ARCHIVED, USAGE } from '../../shared/messages/usage.js';
import {
  decodeCounters,
  decodeMetering,
  decodeWindow,
  encodeCounters,
  encodeMetering,
  encodeWindow,
} from '../../shared/state/metering-codec.js';
import type { AsOf, CountersState, MeteringState, WindowState } from '../../shared/state/metering-state.js';
import type { Document, Facts, FoldResult, Input, Processor, ReadDocument } from '../engine/processor.js';
import { UsageNames } from './usage-names.js';

type Write = FoldResult['writes'][number];
type UsageInput = Extract<Input, { readonly kind: 'message' }>;

const ACCEPTED: FoldResult = { writes: [], effects: [] };

/** Plugs metering (rules/windows) into the engine: the topic `usage`. */
export class Metering implements Processor {
  readonly topic = 'usage';
  readonly pinned = [PARTITION_DOCUMENT];
  readonly archived = true;
  private readonly names = new UsageNames();
  /** One for all events: a fold does not keep it. */
  private readonly context: { -readonly [Key in keyof MeteringContext]: MeteringContext[Key] };
  private readonly place: { -readonly [Key in keyof AsOf]: AsOf[Key] } = { entry: '', index: 0 };

  constructor(private readonly settings: WindowSettings) {
    this.context = { tenant: '', customer: '', at: 0, settings, names: this.names, step: {} };
  }

  decode(name: string, text: string): Document {
    if (name === PARTITION_DOCUMENT) return decodeMetering(text);
    return name.startsWith('counters:') ? decodeCounters(text) : decodeWindow(text);
  }

  encode(name: string, document: Document): string {
    if (name === PARTITION_DOCUMENT) return encodeMetering(document as MeteringState);
    return name.startsWith('counters:')
      ? encodeCounters(document as CountersState)
      : encodeWindow(document as WindowState);
  }

  bornAgain(at: number): readonly (readonly [string, MeteringState])[] {
    return [[PARTITION_DOCUMENT, bornAgain(at, this.settings)]];
  }

  foldsAlone(): boolean {
    return false;
  }

  documents(input: Input): readonly string[] {
    if (input.kind === 'timer') return [input.timer.id, PARTITION_DOCUMENT];
    const { message } = input;
    return message.type === ARCHIVED ? this.pinned : this.namesOf(message);
  }

  fold(
    input: Input,
    read: ReadDocument,
    _facts: Facts,
    _members: readonly string[],
    step: object,
  ): FoldResult {
    this.context.at = input.at;
    this.context.step = step;
    if (input.kind === 'timer') return this.foldTimer(input.timer.id, read);
    const { type, data } = input.message;
    if (type === USAGE) return this.foldUsage(input, read);
    if (type !== ARCHIVED) throw new Error(`unknown message type ${type.slice(0, 100)}`);
    const before = read(PARTITION_DOCUMENT) as MeteringState | null;
    const after = foldArchived(before, data, this.context);
    return { writes: after === before ? [] : [[PARTITION_DOCUMENT, after]], effects: [] };
  }

  private foldUsage({ message, place, index }: UsageInput, read: ReadDocument): FoldResult {
    const event = usageEventOf(message);
    this.aim(event.tenant, event.subject);
    this.place.entry = place.entry.id;
    this.place.index = index;
    const [windowName, countersName] = this.namesOf(message);
    const window = read(windowName) as WindowState | null;
    const counters = read(countersName) as CountersState | null;
    const partition = read(PARTITION_DOCUMENT) as MeteringState | null;
    const folded = foldUsage(event, this.place, { window, counters, partition }, this.context);
    const { effects, verdict } = folded;
    // A draft that this step has written before is written already, whatever is added to it: the usual case.
    const same = folded.window === window && folded.counters === counters && folded.partition === partition;
    if (same && verdict === 'accepted' && effects.length === 0) return ACCEPTED;
    const writes: Write[] = [];
    if (folded.window !== window) writes.push([windowName, folded.window]);
    if (folded.counters !== counters) writes.push([countersName, folded.counters]);
    if (folded.partition !== partition) writes.push([PARTITION_DOCUMENT, folded.partition]);
    if (verdict === 'accepted') return { writes, effects };
    return { writes, effects, verdict: verdict === 'cold' ? 'c' : `l${folded.revision}` };
  }

  private foldTimer(id: string, read: ReadDocument): FoldResult {
    const timer = parseMeteringTimer(id);
    this.aim(timer.tenant, timer.customer);
    if (timer.kind === 'counters') {
      const name = countersDocument(timer.tenant, timer.customer);
      const { counters, effects } = foldCountersTimer(read(name) as CountersState | null, this.context);
      return { writes: [[name, counters]], effects };
    }
    const before = {
      window: read(id) as WindowState | null,
      partition: read(PARTITION_DOCUMENT) as MeteringState | null,
    };
    const { window, partition, effects } = foldWindowTimer(before, this.context);
    const writes: Write[] = [];
    if (window !== before.window) writes.push([id, window]);
    if (partition !== before.partition) writes.push([PARTITION_DOCUMENT, partition]);
    return { writes, effects };
  }

  private aim(tenant: string, customer: string): void {
    this.context.tenant = tenant;
    this.context.customer = customer;
  }

  /** @throws when the message has no window */
  private namesOf({ tenant, subject, timestamp }: Message): readonly [string, string, string] {
    if (tenant === undefined || !Number.isSafeInteger(timestamp)) {
      throw new Error('the event has no tenant or no timestamp');
    }
    return this.names.of(tenant, subject, windowStart(timestamp!, this.settings.windowMs));
  }
}
