/** As much of a path as may be shown: a password with a slash in it ends up here, and has more to it. */
const SHOWABLE = /^[\w.+-]{1,20}$/;
/** The driver takes parameters for options, and these would win over what stands in front of them. */
const PARAMETERS_REFUSED = ['username', 'password', 'host', 'port', 'path'];

/** What is wrong with a URL of Redis, without its password; undefined when nothing is. The driver would use database 0. */
export function redisUrlDefect(url: string): string | undefined {
  const { hostname, pathname, searchParams, username, password } = new URL(url);
  if (hostname === '') return 'needs a host';
  const index = pathname.slice(1);
  if (index !== '' && !/^\d{1,9}$/.test(index)) {
    const what = SHOWABLE.test(index) ? `"${index}"` : 'what follows the host';
    return `the index of the database must be a whole number from 0, and ${what} is not`;
  }
  if (searchParams.has('db')) return 'the index of the database stands behind the host (/3), not in ?db=';
  const refused = PARAMETERS_REFUSED.find((name) => searchParams.has(name));
  if (refused !== undefined) return `it cannot have the parameter ${refused}: write it before the path`;
  if (searchParams.has('keyPrefix')) return 'it cannot have a keyPrefix: set WEIR_NAMESPACE';
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
