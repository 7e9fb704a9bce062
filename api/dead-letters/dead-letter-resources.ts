import type { Request, Response } from 'express';
import type { Redis } from 'ioredis';
import {
  type DeadLetter,
  deleteDeadLetter,
  listDeadLetters,
  replayDeadLetter,
} from '../../shared/dead-letters/dead-letters.js';
import { classifyRedisError } from '../../shared/redis/store-unavailable.js';
import { TOPICS } from '../../shared/topics.js';
import { optionalInteger, parseQuery } from '../http/query.js';
import { sendJson, sendNothing } from '../http/respond.js';
import type { Resource } from '../http/routes.js';
import { invalid, Refusal } from '../refusal.js';
import { isoTime } from '../restrictions/user-view.js';
import type { Slot, Slots } from '../slots.js';
import type { StoreGate } from '../store-gate.js';

export interface DeadLetterDependencies {
  readonly redis: Redis;
  readonly slots: Slots;
  readonly gate: StoreGate;
}

const LIMIT_DEFAULT = 100;
const LIMIT_MAX = 1000;

/** `events.3.1700000000000-0`: partition and id in its stream of dead letters. */
const LETTER_ID = /^([a-z]+\.\d{1,4})\.(\d{1,15}-\d{1,15})$/;

export function deadLetterResources(dependencies: DeadLetterDependencies): Resource[] {
  return [
    { path: '/dead-letters', methods: { get: (req, res) => list(dependencies, req, res) } },
    {
      path: '/dead-letters/:id/replay',
      methods: { post: (req, res) => replay(dependencies, req, res) },
      status: 202,
    },
    {
      path: '/dead-letters/:id',
      methods: { delete: (req, res) => remove(dependencies, req, res) },
      status: 204,
    },
  ];
}

/** By partition, then oldest first. The cursor is the id of the last letter that was shown. */
async function list(
  { redis, slots, gate }: DeadLetterDependencies,
  req: Request,
  res: Response,
): Promise<void> {
  const query = parseQuery(req.url);
  const limit = optionalInteger(query, 'limit', { min: 1, max: LIMIT_MAX, otherwise: LIMIT_DEFAULT });
  const wanted = topicSlots(slots, query.get('topic'));
  const start = startOf(wanted, query.get('cursor'));
  gate.pass();
  const letters: object[] = [];
  let cursor: string | null = null;
  let afterId = start.afterId;
  for (const slot of wanted.slice(start.index)) {
    // One more than is shown tells whether there are more.
    const found = await asked(listDeadLetters(redis, slot.keys, afterId, limit - letters.length + 1));
    for (const letter of found) {
      if (letters.length === limit) {
        sendJson(req, res, 200, { dead_letters: letters, next_cursor: cursor });
        return;
      }
      cursor = `${slot.name}.${letter.id}`;
      letters.push(letterView(slot, letter));
    }
    afterId = '0-0';
  }
  sendJson(req, res, 200, { dead_letters: letters, next_cursor: null });
}

async function replay(
  { redis, slots, gate }: DeadLetterDependencies,
  req: Request,
  res: Response,
): Promise<void> {
  const { slot, id } = addressed(slots, req);
  gate.pass();
  const result = await asked(replayDeadLetter(redis, slot.keys, id));
  if (result === 'not_found') throw notFound();
  if (result === 'not_replayable') {
    throw new Refusal('not_replayable', 'It holds no message that could be read; delete it instead.');
  }
  sendJson(req, res, 202, { status: 'accepted' });
}

async function remove(
  { redis, slots, gate }: DeadLetterDependencies,
  req: Request,
  res: Response,
): Promise<void> {
  const { slot, id } = addressed(slots, req);
  gate.pass();
  if (!(await asked(deleteDeadLetter(redis, slot.keys, id)))) throw notFound();
  sendNothing(req, res, 204);
}

function topicSlots(slots: Slots, topic: string | undefined): readonly Slot[] {
  if (topic === undefined) return slots.all;
  const known = TOPICS.find((name) => name === topic);
  if (known === undefined) throw invalid('topic', `must be one of ${TOPICS.join(', ')}`);
  return slots.ofTopic(known);
}

function startOf(slots: readonly Slot[], cursor: string | undefined): { index: number; afterId: string } {
  if (cursor === undefined) return { index: 0, afterId: '0-0' };
  const match = LETTER_ID.exec(cursor);
  const index = slots.findIndex((slot) => slot.name === match?.[1]);
  if (match === null || index === -1) throw invalid('cursor', 'must be a next_cursor of this list');
  return { index, afterId: match[2]! };
}

/** @throws Refusal dead_letter_not_found for anything that is not the id of a letter */
function addressed(slots: Slots, req: Request): { slot: Slot; id: string } {
  const match = LETTER_ID.exec(req.params['id'] as string);
  const slot = match === null ? undefined : slots.byName(match[1]!);
  if (match === null || slot === undefined) throw notFound();
  return { slot, id: match[2]! };
}

function notFound(): Refusal {
  return new Refusal('dead_letter_not_found', 'There is no dead letter with this id.');
}

function letterView(slot: Slot, letter: DeadLetter): object {
  return {
    id: `${slot.name}.${letter.id}`,
    topic: slot.partition.topic,
    message: letter.message,
    error: letter.error,
    attempts: letter.attempts,
    at: isoTime(letter.atMs),
  };
}

async function asked<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    throw classifyRedisError(error);
  }
}
