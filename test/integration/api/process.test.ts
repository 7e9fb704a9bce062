import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { testNamespace, testRedis } from '../../support/hooks.js';

describe('api: the process', () => {
  const children: ChildProcess[] = [];
  afterEach(async () => {
    for (const child of children.splice(0)) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
  });

  function start(settings: Record<string, string>): { child: ChildProcess; output: () => string } {
    const main = fileURLToPath(new URL('../../../api/main.js', import.meta.url));
    const env = { ...process.env, PORT: '0', REDIS_URL: testRedis().url, ...settings };
    const child = fork(main, { env, stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
    children.push(child);
    let text = '';
    child.stdout?.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    return { child, output: () => text };
  }

  async function listening(child: ChildProcess): Promise<string> {
    const [message] = (await once(child, 'message')) as [{ type: string; url: string }];
    expect(message.type).to.equal('listening');
    return message.url;
  }

  it('tells its parent and the log where it listens, and stops with 0 on SIGTERM', async () => {
    const { child, output } = start({ WEIR_NAMESPACE: testNamespace() });
    const url = await listening(child);
    expect((await fetch(`${url}/health`)).status).to.equal(200);
    child.kill('SIGTERM');
    expect(await once(child, 'exit')).to.deep.equal([0, null]);
    expect(output()).to.include(`listening on ${url} (bound to loopback because there are no API keys yet)`);
  });

  it('stops when its parent is gone', async () => {
    const { child } = start({ WEIR_NAMESPACE: testNamespace() });
    await listening(child);
    child.disconnect();
    expect(await once(child, 'exit')).to.deep.equal([0, null]);
  });

  it('ends with 1 on data of another partition count, saying both and what to do', async () => {
    const WEIR_NAMESPACE = testNamespace();
    const first = start({ WEIR_NAMESPACE, PARTITIONS: '4' });
    const url = await listening(first.child);
    while ((await fetch(`${url}/canmessage?user_id=u`)).status !== 200);
    const second = start({ WEIR_NAMESPACE, PARTITIONS: '8' });
    expect(await once(second.child, 'exit')).to.deep.equal([1, null]);
    expect(second.output()).to.include('PARTITIONS is 8').and.include('Set PARTITIONS=4');
  });
});
