import { configSchema } from './config.js';

/** Shorter names, as HOST and PORT, resemble too much that is none of ours. */
const LENGTH_MIN = 6;

/** A line for each variable that looks like a setting of ours and is none: it would be ignored silently. */
export function misspeltSettings(
  environment: Readonly<Record<string, string | undefined>> = process.env,
): readonly string[] {
  const ours = Object.keys(configSchema.shape);
  return Object.keys(environment).flatMap((name) => {
    if (environment[name] === '' || ours.includes(name)) return [];
    const meant = ours.find((setting) => isNearly(name.toUpperCase(), setting));
    return meant === undefined ? [] : [`${name} is set and is no setting of weir: ${meant} is`];
  });
}

/** One letter is missing, too many or another, or two have changed places. */
function isNearly(name: string, setting: string): boolean {
  if (name === setting) return true;
  if (setting.length < LENGTH_MIN) return false;
  let same = 0;
  while (same < name.length && name[same] === setting[same]) same += 1;
  const [given, meant] = [name.slice(same), setting.slice(same)];
  return (
    given.slice(1) === meant ||
    given === meant.slice(1) ||
    given.slice(1) === meant.slice(1) ||
    (given.slice(2) === meant.slice(2) && given[0] === meant[1] && given[1] === meant[0])
  );
}
