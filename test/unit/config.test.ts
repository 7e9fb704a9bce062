import { resolve } from 'node:path';
import { expect } from 'chai';
import { ConfigError, loadConfig } from '../../shared/load-config.js';

/** The message of the ConfigError that an environment gives. */
function defectsOf(environment: Readonly<Record<string, string>>): readonly string[] {
  try {
    loadConfig(environment);
  } catch (error) {
    expect(error).to.be.instanceOf(ConfigError);
    expect((error as ConfigError).message).to.match(/^configuration:(\n| (?!.*\n))/);
    const [, ...defects] = (error as ConfigError).message.split(/\n {2}|^configuration: /);
    return defects;
  }
  throw new Error('no ConfigError');
}

describe('the configuration', () => {
  it('has a default for everything but the address of Redis', () => {
    const config = loadConfig({});
    expect(config.PORT).to.equal(8080);
    expect(config.HOST).to.equal('127.0.0.1');
    expect(config.WORKERS).to.equal(2);
    expect(config.PARTITIONS).to.equal(8);
    expect(config.redisUrl).to.equal(undefined);
  });

  it('reads numbers from text and leaves other variables alone', () => {
    const config = loadConfig({ PORT: '0', TRIPWIRE_MAX_SHARE: '0.25', UNRELATED: 'x' });
    expect(config.PORT).to.equal(0);
    expect(config.TRIPWIRE_MAX_SHARE).to.equal(0.25);
    expect(config).to.not.have.property('UNRELATED');
  });

  it('counts an empty variable as unset', () => {
    const config = loadConfig({ PORT: '', REDIS_URL: '', LOG_LEVEL: '' });
    expect(config.PORT).to.equal(8080);
    expect(config.redisUrl).to.equal(undefined);
    expect(config.LOG_LEVEL).to.equal('info');
  });

  it('makes the address of Redis from host and port, unless it is given whole', () => {
    expect(loadConfig({ REDIS_HOST: 'store' }).redisUrl).to.equal('redis://store:6379');
    expect(loadConfig({ REDIS_HOST: '::1', REDIS_PORT: '7000' }).redisUrl).to.equal('redis://[::1]:7000');
    expect(loadConfig({ REDIS_PORT: '7000' }).redisUrl).to.equal(undefined);
    expect(loadConfig({ REDIS_HOST: 'store', REDIS_URL: 'rediss://other:1' }).redisUrl).to.equal(
      'rediss://other:1',
    );
  });

  it('makes the data folder absolute, because processes have other working directories', () => {
    expect(loadConfig({ WEIR_DATA_DIR: 'here' }).WEIR_DATA_DIR).to.equal(resolve('here'));
  });

  it('names all defects at once, those between settings too', () => {
    const names = defectsOf({
      PORT: '65536',
      WORKERS: 'many',
      PARTITIONS: '1.5',
      REDIS_HOST: 'two words',
      TRIPWIRE_MAX_SHARE: '0',
      LOG_LEVEL: 'loud',
      HEARTBEAT_MS: '1001',
    }).map((defect) => defect.split(':')[0]);
    expect(names).to.have.members([
      'PORT',
      'WORKERS',
      'PARTITIONS',
      'REDIS_HOST',
      'TRIPWIRE_MAX_SHARE',
      'LOG_LEVEL',
      'HEARTBEAT_MS',
    ]);
  });

  it('allows a heartbeat of a third of the lease, and no more', () => {
    expect(loadConfig({ HEARTBEAT_MS: '100', LEASE_TTL_MS: '300' }).HEARTBEAT_MS).to.equal(100);
    expect(defectsOf({ HEARTBEAT_MS: '101', LEASE_TTL_MS: '300' })).to.deep.equal([
      'HEARTBEAT_MS: must be at most a third of LEASE_TTL_MS',
    ]);
  });

  it('keeps a reply for longer than anybody waits for it', () => {
    const settings = { REPLY_TTL_SECONDS: '2', REPLY_DEADLINE_MS: '2000' };
    expect(defectsOf(settings)).to.deep.equal(['REPLY_TTL_SECONDS: must be longer than REPLY_DEADLINE_MS']);
    expect(loadConfig({ ...settings, REPLY_DEADLINE_MS: '1999' }).REPLY_TTL_SECONDS).to.equal(2);
  });

  it('shows the value that is wrong, and how it has to be', () => {
    expect(defectsOf({ PORT: 'eighty' })).to.deep.equal(['PORT: must be a number (it is "eighty")']);
    expect(defectsOf({ WORKERS: '1.5' })).to.deep.equal(['WORKERS: must be a whole number (it is "1.5")']);
    expect(defectsOf({ PORT: '65536' })).to.deep.equal([
      'PORT: Too big: expected number to be <=65535 (it is "65536")',
    ]);
    expect(defectsOf({ TRIPWIRE_MAX_SHARE: 'half' })).to.deep.equal([
      'TRIPWIRE_MAX_SHARE: must be a number (it is "half")',
    ]);
    expect(defectsOf({ FAIL_MODE: 'shut' })).to.deep.equal([
      'FAIL_MODE: Invalid option: expected one of "open"|"closed" (it is "shut")',
    ]);
    expect(defectsOf({ WEIR_NAMESPACE: 'a b'.padEnd(100) })[0]).to.match(/\(it is "a b {37}"\)$/);
  });

  it('takes a memory of Redis with which it can work, and that it can count', () => {
    for (const REDIS_MEMORY_MAX of ['0', '1', '8191kb', '7mb', '1048577gb', '999999999999999gb']) {
      expect(defectsOf({ REDIS_MEMORY_MAX })).to.deep.equal([
        `REDIS_MEMORY_MAX: must be from 8mb to 1048576gb (it is "${REDIS_MEMORY_MAX}")`,
      ]);
    }
    expect(defectsOf({ REDIS_MEMORY_MAX: '2GB' })).to.deep.equal([
      'REDIS_MEMORY_MAX: must be bytes, or a number with kb, mb or gb (it is "2GB")',
    ]);
    for (const REDIS_MEMORY_MAX of ['8mb', '8388608', '8192kb', '1048576gb']) {
      expect(loadConfig({ REDIS_MEMORY_MAX }).REDIS_MEMORY_MAX).to.equal(REDIS_MEMORY_MAX);
    }
  });

  it('repeats no value that may hold a password', () => {
    const defects = defectsOf({
      REDIS_URL: 'https://user:hunter2@store',
      DATABASE_URL: 'mysql://user:hunter2@store/weir',
      REDIS_HOST: 'user:hunter2@store',
    });
    expect(defects).to.deep.equal([
      'REDIS_URL: must be a URL that begins with redis:// or rediss://',
      'REDIS_HOST: must be a host name or an address',
      'DATABASE_URL: must be a URL that begins with postgres:// or postgresql://',
    ]);
  });

  for (const path of ['/-1', '/abc', '/1.5', '/1/2', '/%31', '/ 1', '/9999999999']) {
    it(`refuses an index of Redis that is no whole number: ${path}`, () => {
      const [defect, ...more] = defectsOf({ REDIS_URL: `redis://:hunter2@store:6379${path}` });
      expect(more).to.deep.equal([]);
      expect(defect)
        .to.match(/^REDIS_URL: the index of the database must be a whole number from 0, and .+ is not$/)
        .and.not.include('hunter2');
      if (/^[\w/.-]+$/.test(path) && path !== '/1/2') expect(defect).to.include(`"${path.slice(1)}"`);
    });
  }

  it('refuses what the driver of Redis would take for another database, user or password', () => {
    expect(defectsOf({ REDIS_URL: 'redis://store/3?db=4' })).to.deep.equal([
      'REDIS_URL: the index of the database stands behind the host (/3), not in ?db=',
    ]);
    expect(defectsOf({ REDIS_URL: 'redis://:hunter2%@store' })).to.deep.equal([
      'REDIS_URL: its user or password has a % that begins no code: write %25 for it',
    ]);
    for (const name of ['username', 'password', 'host', 'port', 'path']) {
      expect(defectsOf({ REDIS_URL: `redis://store/3?${name}=hunter2` })).to.deep.equal([
        `REDIS_URL: it cannot have the parameter ${name}: write it before the path`,
      ]);
    }
    expect(defectsOf({ REDIS_URL: 'redis://store?keyPrefix=a' })).to.deep.equal([
      'REDIS_URL: it cannot have a keyPrefix: set WEIR_NAMESPACE',
    ]);
    expect(defectsOf({ REDIS_URL: 'redis:///3' })).to.deep.equal(['REDIS_URL: needs a host']);
    // A password with a slash that nobody has escaped.
    expect(defectsOf({ REDIS_URL: 'redis://user/hunter2@store:6379' })).to.deep.equal([
      'REDIS_URL: the index of the database must be a whole number from 0, and what follows the host is not',
    ]);
    for (const url of ['redis://store', 'redis://store/', 'redis://store/0', 'rediss://u:p%25@store:1/15']) {
      expect(loadConfig({ REDIS_URL: url }).redisUrl).to.equal(url);
    }
  });

  it('tells a URL that cannot be read from one of another kind, with one defect each', () => {
    const hint = 'in a user or password write %23 for #, %2F for / and %3F for ?';
    for (const rest of [':hunter2/x@store:6379', ':hunter2#x@store', 'store:99999', '']) {
      expect(defectsOf({ REDIS_URL: `redis://${rest}` })).to.deep.equal([
        rest === '' ? 'REDIS_URL: needs a host' : `REDIS_URL: has no valid host or port: ${hint}`,
      ]);
    }
    // The driver would not see what follows it, and use database 0 or another host.
    for (const rest of ['store/#3', 'hunter2#x@store']) {
      expect(defectsOf({ REDIS_URL: `redis://${rest}` })).to.deep.equal([
        `REDIS_URL: it has a # that ends it: ${hint}`,
      ]);
    }
    expect(defectsOf({ REDIS_URL: 'unix:///tmp/redis.sock' })).to.deep.equal([
      'REDIS_URL: must be a URL that begins with redis:// or rediss://',
    ]);
    expect(defectsOf({ DATABASE_URL: 'postgres://weir:hunter2/x@store/weir' })).to.deep.equal([
      `DATABASE_URL: has no valid host or port: ${hint}`,
    ]);
    expect(defectsOf({ DATABASE_URL: 'postgres://weir:hunter2@store/weir#1' })).to.deep.equal([
      `DATABASE_URL: it has a # that ends it: ${hint}`,
    ]);
  });

  it('refuses a DATABASE_URL of which no roles can be made, before anything connects', () => {
    expect(defectsOf({ DATABASE_URL: 'postgres://weir@store/weir' })[0]).to.match(
      /^DATABASE_URL: needs a password/,
    );
    expect(defectsOf({ DATABASE_URL: 'postgres://weir:hunter2%@store/weir' })).to.deep.equal([
      'DATABASE_URL: its user, password or database has a % that begins no code: write %25 for it',
    ]);
    expect(defectsOf({ DATABASE_URL: 'postgres://weir:hunter2@store/weir?dbname=x' })).to.deep.equal([
      'DATABASE_URL: write dbname before the host or as the path, not as a parameter',
    ]);
  });
});
