import { resolve } from 'node:path';
import { expect } from 'chai';
import { ConfigError, loadConfig } from '../../shared/config.js';

/** The message of the ConfigError that an environment gives. */
function defectsOf(environment: Readonly<Record<string, string>>): readonly string[] {
  try {
    loadConfig(environment);
  } catch (error) {
    expect(error).to.be.instanceOf(ConfigError);
    const [title, ...defects] = (error as ConfigError).message.split('\n');
    expect(title).to.equal('configuration:');
    return defects.map((defect) => defect.trim());
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

  it('repeats no value in a defect: it may be a secret', () => {
    const defects = defectsOf({
      REDIS_URL: 'https://user:hunter2@store',
      WEIR_NAMESPACE: 'hunter2 hunter2',
      PORT: 'hunter2',
      LOG_LEVEL: 'hunter2',
      REDIS_HOST: 'user:hunter2@store',
    });
    expect(defects).to.have.length(5);
    expect(defects.join()).to.not.include('hunter2');
  });
});
