import { Redis } from 'ioredis';
import { LivedTimeout } from '../lived-time.js';

type SendCommand = Redis['sendCommand'];
type Command = Parameters<SendCommand>[0];

/** Of the driver's own: it clears this timer when the command is settled. */
interface Timed {
  _commandTimeoutTimer: NodeJS.Timeout | undefined;
}

/**
 * A connection whose commands time out, and that is dropped where it is silent for as long: else the driver would go on
 * writing to a server that hangs, and keep every command in memory until it answers. The driver has both (`commandTimeout`,
 * `socketTimeout`), but its timers fire before replies are read that came while this process was stalled.
 */
export class PatientRedis extends Redis {
  /** undefined: a command may take for ever. */
  commandTimeoutMs: number | undefined;
  /** Whoever had it is done with it. The driver still reports as an error that a handshake was cut off. */
  givenUp = false;

  override disconnect(reconnect = false): void {
    this.givenUp ||= !reconnect;
    super.disconnect(reconnect);
  }

  override sendCommand(command: Command, into?: Parameters<SendCommand>[1]): unknown {
    const sent = super.sendCommand(command, into);
    if (this.commandTimeoutMs !== undefined && !command.isSettled) this.limit(command, this.commandTimeoutMs);
    return sent;
  }

  private limit(command: Command, ms: number): void {
    const { stream } = this;
    const read = stream?.bytesRead;
    const timed = command as unknown as Timed;
    const late = (): void => {
      if (command.isSettled) return;
      command.reject(new Error('Command timed out'));
      if (stream?.bytesRead === read) stream?.destroy(new Error(`No answer within ${ms} ms.`));
    };
    new LivedTimeout(late, ms, (timer) => {
      timed._commandTimeoutTimer = timer;
    });
  }
}
