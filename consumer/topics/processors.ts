import type { Rule } from '../../rules/restrictions/rule.js';
import { budgetSettings } from '../../shared/budget-settings.js';
import type { Config } from '../../shared/config.js';
import type { Logger } from '../../shared/logging.js';
import { tripwireLimits } from '../../shared/tripwire/tripwire-limits.js';
import { windowSettings } from '../../shared/window-settings.js';
import type { Processor } from '../engine/processor.js';
import type { TripwireAccess } from '../tripwire/ask-tripwires.js';
import { Admissions } from './admissions.js';
import { Metering } from './metering.js';
import { Restrictions } from './restrictions.js';

export interface ProcessorsOptions {
  readonly config: Config;
  /** Answers reservations; undefined where nothing is ever reserved (the probe). */
  readonly tripwire?: TripwireAccess['tripwire'];
  readonly log: Logger;
  readonly rules: readonly Rule[];
  readonly onTrip: (rule: string) => void;
}

/** One processor per topic. A new topic is one line here. */
export function createProcessors({
  config,
  tripwire = NO_TRIPWIRE,
  log,
  rules,
  onTrip,
}: ProcessorsOptions): Processor[] {
  return [
    new Restrictions({
      rules,
      limits: tripwireLimits(config),
      tripwire,
      log,
      onTrip,
    }),
    new Metering(windowSettings(config)),
    new Admissions(budgetSettings(config)),
  ];
}

const NO_TRIPWIRE: TripwireAccess['tripwire'] = {
  reserve: () => Promise.reject(new Error('this process reserves nothing')),
  populationBeside: () => Promise.reject(new Error('this process reserves nothing')),
};
