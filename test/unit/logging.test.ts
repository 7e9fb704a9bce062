import { expect } from 'chai';
import { errorWithoutCommand, withoutPassword } from '../../shared/logging.js';

describe('logging', () => {
  it('names the Redis command of an error, and keeps its arguments out of the log', () => {
    const error = Object.assign(new Error('WRONGTYPE'), {
      command: { name: 'evalsha', args: ['user-1', 'secret'] },
    });
    const logged = errorWithoutCommand(error);
    expect(logged).to.include({ type: 'Error', message: 'WRONGTYPE', command: 'evalsha' });
    expect(JSON.stringify(logged)).to.not.contain('secret');
  });

  it('shows a Redis URL without its user and password', () => {
    expect(withoutPassword('redis://me:secret@127.0.0.1:6379/0')).to.equal('redis://127.0.0.1:6379/0');
  });
});
