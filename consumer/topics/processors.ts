import type { Rule } from '../../rules/restrictions/rule.js';
import type { Config } from '../../shared/config.js';
import type { Logger } from '../../shared/logging.js';
import { windowSettings } from '../../shared/window-settings.js';
import type { Processor } from '../engine/processor.js';
import type { TripwireAccess } from '../tripwire/ask-tripwires.js';
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
      limits: {
        max_share: config.TRIPWIRE_MAX_SHARE,
        max_users: config.TRIPWIRE_MAX_USERS === 0 ? null : config.TRIPWIRE_MAX_USERS,
        min_population: config.TRIPWIRE_MIN_POPULATION,
        window_seconds: config.TRIPWIRE_WINDOW_SECONDS,
      },
      tripwire,
      log,
      onTrip,
    }),
    new Metering(windowSettings(config)),
  ];
}

const NO_TRIPWIRE: TripwireAccess['tripwire'] = {
  reserve: () => Promise.reject(new Error('this process reserves nothing')),
  populationBeside: () => Promise.reject(new Error('this process reserves nothing')),
};
