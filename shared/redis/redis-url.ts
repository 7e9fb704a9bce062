/** As much of a path as may be shown: a password with a slash in it ends up here, and has more to it. */
const SHOWABLE = /^[\w.+-]{1,20}$/;

/** What is wrong with a URL of Redis, without its password; undefined when nothing is. The driver would use database 0. */
export function redisUrlDefect(url: string): string | undefined {
  const { pathname, searchParams, username, password } = new URL(url);
  const index = pathname.slice(1);
  if (index !== '' && !/^\d{1,9}$/.test(index)) {
    const what = SHOWABLE.test(index) ? `"${index}"` : 'what follows the host';
    return `the index of the database must be a whole number from 0, and ${what} is not`;
  }
  if (searchParams.has('db')) return 'the index of the database stands behind the host (/3), not in ?db=';
  return isDecodable(username) && isDecodable(password)
    ? undefined
    : 'its user or password has a % that begins no code: write %25 for it';
}

export function isDecodable(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}
