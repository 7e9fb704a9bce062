import {
  type CountersState,
  SLOT_MS,
  type Slot,
  type SlotKind,
} from '../../../shared/state/metering-state.js';
import { isoTime } from '../../restrictions/user-view.js';
import { dimensionView } from './usage-figures.js';

/** Minute, hour and day that hold `nowMs`, zeros where nothing was counted. */
export function currentView(counters: CountersState | undefined, nowMs: number): object {
  const view = (kind: SlotKind): object => {
    const start = nowMs - (nowMs % SLOT_MS[kind]);
    return slotView(counters?.[kind].get(start), start, start + SLOT_MS[kind]);
  };
  return { minute: view('minutes'), hour: view('hours'), day: view('days') };
}

function slotView(slot: Slot | undefined, start: number, end: number): object {
  return {
    start: isoTime(start),
    end: isoTime(end),
    calls: slot?.calls ?? 0,
    tokens: slot?.tokens ?? 0,
    inputTokens: slot?.inputTokens ?? 0,
    outputTokens: slot?.outputTokens ?? 0,
    byEndpoint: slot === undefined ? {} : dimensionView(slot.byEndpoint),
    byModel: slot === undefined ? {} : dimensionView(slot.byModel),
  };
}
