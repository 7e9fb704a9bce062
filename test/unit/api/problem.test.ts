import { expect } from 'chai';
import { problemDocument, statusOf, toRefusal } from '../../../api/http/problem.js';
import { Refusal } from '../../../api/refusal.js';
import { classifyRedisError, StoreUnavailable } from '../../../shared/redis/store-unavailable.js';
import { NewerDocumentError } from '../../../shared/state/state-codec.js';

describe('problems', () => {
  it('have the members of RFC 9457 and those of the code', () => {
    const refusal = new Refusal('unknown_event', 'No.', {
      errors: [{ path: 'name', message: 'x' }],
      members: { known: ['a'] },
    });
    expect(problemDocument(refusal, 'r1')).to.deep.equal({
      ...{ type: 'urn:weir:problem:unknown_event', title: 'Unknown event', status: 422, detail: 'No.' },
      ...{ code: 'unknown_event', request_id: 'r1', errors: [{ path: 'name', message: 'x' }], known: ['a'] },
    });
  });

  it('tell nothing about an error that nobody foresaw', () => {
    const refusal = toRefusal(new Error('secret at /root/x.js'));
    expect(statusOf(refusal.code)).to.equal(500);
    expect(JSON.stringify(problemDocument(refusal, 'r'))).not.to.include('secret');
  });

  it('are made of what domain code throws', () => {
    expect(toRefusal(new StoreUnavailable('away')).code).to.equal('store_unavailable');
    expect(toRefusal(new NewerDocumentError(9)).code).to.equal('store_unavailable');
    expect(toRefusal(new URIError('x')).code).to.equal('invalid_request');
  });
});

describe('classifyRedisError', () => {
  const passing = [
    "OOM command not allowed when used memory > 'maxmemory'. script: abc, on @user_script:20.",
    "READONLY You can't write against a read only replica.",
    'LOADING Redis is loading the dataset in memory',
    'CLUSTERDOWN The cluster is down',
    'MISCONF Redis is configured to save RDB snapshots',
    'TRYAGAIN Multiple keys request during rehashing of slot',
    'MOVED 12361 127.0.0.1:7001',
    'ASK 12361 127.0.0.1:7001',
    "Cluster isn't ready and enableOfflineQueue options is false",
    'Command timed out',
    'Connection is closed.',
    "Stream isn't writeable and enableOfflineQueue options is false",
    'Command aborted due to connection close',
  ];
  for (const message of passing) {
    it(`takes "${message.slice(0, 30)}…" for the store being away`, () => {
      expect(classifyRedisError(new Error(message))).to.be.instanceOf(StoreUnavailable);
    });
  }

  it('says so when it is memory', () => {
    expect((classifyRedisError(new Error(passing[0])) as StoreUnavailable).detail).to.match(/memory/);
  });

  it('leaves a defect as it is', () => {
    const busyGroup = new Error('BUSYGROUP Consumer Group name already exists');
    for (const error of [
      new Error('WRONGTYPE Operation against a key'),
      busyGroup,
      new TypeError('x'),
      'text',
    ]) {
      expect(classifyRedisError(error)).to.equal(error);
    }
  });
});
