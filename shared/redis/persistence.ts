import type { Redis } from 'ioredis';

/** Says that Redis keeps nothing on disk; undefined when it does, or does not tell (CONFIG is forbidden in many clouds). */
export async function persistenceDefect(redis: Redis): Promise<string | undefined> {
  const settings = await redis.config('GET', 'appendonly', 'save').catch(() => []);
  const [appendonly, save] = ['appendonly', 'save'].map((name) => settingOf(settings as string[], name));
  if (appendonly !== 'no' || save !== '') return undefined;
  return 'Redis keeps nothing on disk: a restart of it loses what was accepted, decided and counted. Set appendonly yes.';
}

/** Of names and values in turn. */
function settingOf(settings: readonly string[], name: string): string | undefined {
  const index = settings.indexOf(name);
  return index === -1 ? undefined : settings[index + 1];
}
