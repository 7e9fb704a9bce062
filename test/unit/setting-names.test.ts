import { expect } from 'chai';
import { configSchema } from '../../shared/config.js';
import { misspeltSettings } from '../../shared/setting-names.js';

describe('the name of a setting', () => {
  for (const [name, setting] of [
    ['WORKER', 'WORKERS'],
    ['WROKERS', 'WORKERS'],
    ['WORKERSS', 'WORKERS'],
    ['REDIS_URI', 'REDIS_URL'],
    ['LOGLEVEL', 'LOG_LEVEL'],
    ['database_url', 'DATABASE_URL'],
    ['Port', 'PORT'],
  ] as const) {
    it(`that is nearly ${setting} is reported: ${name}`, () => {
      expect(misspeltSettings({ [name]: '3' })).to.deep.equal([
        `${name} is set and is no setting of weir: ${setting} is`,
      ]);
    });
  }

  it('is not reported where it is ours, empty, or what systems and other programs have', () => {
    const ours = Object.fromEntries(Object.keys(configSchema.shape).map((name) => [name, 'x']));
    expect(misspeltSettings(ours)).to.deep.equal([]);
    const others = ['HOME', 'HOSTS', 'POST', 'PATH', 'SORT', 'APP_PORT', 'APP_HOST', 'PGHOST', 'PGPORT'];
    others.push('HOSTNAME', 'LOGNAME', 'NODE_ENV', 'REDIS_PASSWORD', 'DATABASE_USER', 'npm_config_loglevel');
    expect(misspeltSettings(Object.fromEntries(others.map((name) => [name, 'x'])))).to.deep.equal([]);
    expect(misspeltSettings({ WORKER: '' })).to.deep.equal([]);
  });
});
