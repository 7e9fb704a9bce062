import type { Config } from '../config.js';
import type { TripwireLimits } from '../messages/commands.js';

/** The limits that rules have unless they, or a control message, say otherwise. */
export function tripwireLimits(config: Config): TripwireLimits {
  return {
    max_share: config.TRIPWIRE_MAX_SHARE,
    max_users: config.TRIPWIRE_MAX_USERS === 0 ? null : config.TRIPWIRE_MAX_USERS,
    min_population: config.TRIPWIRE_MIN_POPULATION,
    window_seconds: config.TRIPWIRE_WINDOW_SECONDS,
  };
}
