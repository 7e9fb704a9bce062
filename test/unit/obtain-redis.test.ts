import { expect } from 'chai';
import { chooseRedis, type SystemFacts } from '../../shared/launcher/obtain-redis.js';

const debian = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\n';
const bare: SystemFacts = {
  server: undefined,
  platform: 'linux',
  osRelease: debian,
  isRoot: true,
  hasAptGet: true,
};

/** The command it names where it may not install. */
function commandFor(facts: Partial<SystemFacts>): string | undefined {
  const choice = chooseRedis({ ...bare, isRoot: false, ...facts });
  return choice.kind === 'unavailable' ? choice.message.split('\n')[1]!.trim() : undefined;
}

describe('the choice of a Redis server', () => {
  it('is the one on PATH, whoever and wherever we are', () => {
    expect(chooseRedis({ ...bare, server: '/usr/bin/valkey-server' })).to.deep.equal({
      kind: 'run',
      path: '/usr/bin/valkey-server',
    });
  });

  it('is the package on Debian and what derives from it, as root', () => {
    expect(chooseRedis(bare)).to.deep.equal({ kind: 'install' });
    const mint = 'ID=linuxmint\nID_LIKE="ubuntu debian"\n';
    expect(chooseRedis({ ...bare, osRelease: mint })).to.deep.equal({ kind: 'install' });
  });

  it('is an error with the one command of the system otherwise', () => {
    expect(commandFor({})).to.equal('sudo apt-get install redis-server');
    expect(commandFor({ isRoot: true, hasAptGet: false })).to.equal('sudo apt-get install redis-server');
    expect(commandFor({ platform: 'darwin', osRelease: '' })).to.equal('brew install redis');
    expect(commandFor({ osRelease: 'ID=fedora\n' })).to.equal('sudo dnf install redis');
    expect(commandFor({ osRelease: 'ID="rocky"\nID_LIKE="rhel centos fedora"\n' })).to.equal(
      'sudo dnf install redis',
    );
    expect(commandFor({ osRelease: 'ID=alpine\n' })).to.equal('sudo apk add redis');
    expect(commandFor({ osRelease: 'ID=arch\n' })).to.equal('sudo pacman -S valkey');
    expect(commandFor({ osRelease: '' })).to.match(/package manager of this system/);
  });
});
