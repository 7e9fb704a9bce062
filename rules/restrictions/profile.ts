import type { EventName } from '../../shared/messages/events.js';
import type { Profile } from '../../shared/state/user-state.js';
import { unitsOf } from './amount.js';

/** Cards kept per user. One more replaces the card that was first added longest ago: counts stay at this number. */
export const CARDS_MAX = 256;

/** Properties of an event, as they lie in the stream: checked again here, where a wrong one would be kept for ever. */
export type EventProperties = Readonly<Record<string, unknown>>;

/** The profile after one more event. An event that no counter is made of changes nothing here. */
export function applyEvent(profile: Profile, event: EventName, properties: EventProperties): Profile {
  switch (event) {
    case 'scam_message_flagged':
      return { ...profile, scamFlags: profile.scamFlags + 1 };
    case 'credit_card_added':
      return addCard(profile, textOf(properties, 'card_id'), textOf(properties, 'zip_code'));
    case 'purchase_made':
      return { ...profile, spend: profile.spend + unitsOf(properties['amount']) };
    case 'chargeback_occurred':
      return { ...profile, chargebacks: profile.chargebacks + unitsOf(properties['amount']) };
    default:
      return profile;
  }
}

/** The same card again counts once; its latest zip code replaces the earlier one. */
function addCard(profile: Profile, cardId: string, zipCode: string): Profile {
  const position = profile.cards.findIndex(([known]) => known === cardId);
  if (position === -1) {
    const kept = profile.cards.length < CARDS_MAX ? profile.cards : profile.cards.slice(1 - CARDS_MAX);
    return { ...profile, cards: [...kept, [cardId, zipCode]] };
  }
  if (profile.cards[position]![1] === zipCode) return profile;
  return { ...profile, cards: profile.cards.with(position, [cardId, zipCode]) };
}

/** @throws when the event has no such text: it becomes a dead letter */
export function textOf(properties: EventProperties, name: string): string {
  const value = properties[name];
  if (typeof value !== 'string') throw new Error(`${name} is not a string`);
  return value;
}
