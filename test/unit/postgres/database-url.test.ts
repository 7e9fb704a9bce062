import { expect } from 'chai';
import {
  appRole,
  appUrl,
  DatabaseUrlError,
  databaseName,
  rolePassword,
  sinkUrl,
  tenantKey,
} from '../../../shared/postgres/database-url.js';

const OWNER = 'postgres://weir:s%40cret@db.example:5433/usage?sslmode=require';

describe('roles derived from DATABASE_URL', () => {
  it('keep host, port, database and parameters, and change who logs in', () => {
    for (const [url, role] of [
      [appUrl(OWNER), 'usage_weir_app'],
      [sinkUrl(OWNER), 'usage_weir_sink'],
    ] as const) {
      const { username, password, host, pathname, search } = new URL(url);
      expect({ username, host, pathname, search }).to.deep.equal({
        username: role,
        host: 'db.example:5433',
        pathname: '/usage',
        search: '?sslmode=require',
      });
      expect(decodeURIComponent(password)).to.equal(rolePassword(OWNER, role));
    }
  });

  it('have passwords of 256 bits that differ by role, database and owner, and are not the owner’s', () => {
    const others = [
      OWNER.replace('s%40cret', 'other'),
      OWNER.replace('/usage?', '/usage2?'),
      OWNER.replace('weir:', 'somebody:'),
    ];
    const password = rolePassword(OWNER, 'usage_weir_app');
    expect(password).to.match(/^[\w-]{43}$/);
    expect(password).not.to.equal(rolePassword(OWNER, 'usage_weir_sink'));
    expect(others.map((url) => rolePassword(url, appRole(url)) === password)).to.deep.equal([
      false,
      false,
      // The name of the owner may change, its password may not.
      true,
    ]);
    expect(others.map((url) => tenantKey(url) === tenantKey(OWNER))).to.deep.equal([false, false, true]);
    expect([password, rolePassword(OWNER, 'usage_weir_sink'), 's@cret']).not.to.include(tenantKey(OWNER));
  });

  it('take the owner’s name for the database where the URL has none, and say so in theirs', () => {
    const url = 'postgres://weir:p@localhost';
    expect(databaseName(url)).to.equal('weir');
    expect(new URL(appUrl(url)).pathname).to.equal('/weir');
    expect(new URL(appUrl(url)).username).to.equal('weir_weir_app');
  });

  it('take names with any characters', () => {
    const url = 'postgres://weir:p@localhost/my%20%C3%BCber';
    expect(databaseName(url)).to.equal('my über');
    expect(decodeURIComponent(new URL(sinkUrl(url)).username)).to.equal('my über_weir_sink');
  });

  for (const [what, url, detail] of [
    ['no URL', 'db.example', 'is not a URL'],
    ['no host', 'postgres:///usage', 'needs a host'],
    ['no user', 'postgres://localhost/usage', 'needs a user'],
    ['no password', 'postgres://weir@localhost/usage', 'needs a password'],
    ['a user as a parameter, which would win over ours', 'postgres://a:b@h/d?user=weir', 'write user before'],
    ['a password as a parameter', 'postgres://a:b@h/d?password=x', 'write password before'],
    ['a database as a parameter', 'postgres://a:b@h/d?database=x', 'write database before'],
    ['a name of a database that would be cut', `postgres://a:b@h/${'d'.repeat(54)}`, 'too long'],
  ] as const) {
    it(`are refused for ${what}`, () => {
      expect(() => sinkUrl(url))
        .to.throw(DatabaseUrlError, detail)
        .with.property('message')
        .that.matches(/^DATABASE_URL: /)
        .and.does.not.contain(url);
    });
  }
});
