/** An event as a client posts it. */
export interface PostedEvent {
  readonly name: string;
  readonly event_id: string;
  readonly event_properties: {
    readonly user_id: string;
    readonly amount?: number;
    readonly card_id?: string;
    readonly zip_code?: string;
  };
}

export interface Recounted {
  scam_message_flags: number;
  total_credit_cards: number;
  unique_zip_codes: number;
  total_spend: number;
  total_chargebacks: number;
}

/**
 * What the profiles must be, counted from the events that were accepted, each once: the other way to the same
 * figures, sharing no code with the folds.
 */
export class Recount {
  private readonly users = new Map<
    string,
    { flags: number; cards: Map<string, string>; spend: number; back: number }
  >();
  private readonly seen = new Set<string>();

  accept({
    name,
    event_id,
    event_properties: { user_id, amount = 0, card_id = '', zip_code = '' },
  }: PostedEvent): void {
    if (this.seen.has(event_id)) return;
    this.seen.add(event_id);
    const user = this.users.get(user_id) ?? { flags: 0, cards: new Map(), spend: 0, back: 0 };
    this.users.set(user_id, user);
    if (name === 'scam_message_flagged') user.flags += 1;
    if (name === 'credit_card_added') user.cards.set(card_id, zip_code);
    if (name === 'purchase_made') user.spend += Math.round(amount * 100);
    if (name === 'chargeback_occurred') user.back += Math.round(amount * 100);
  }

  get events(): number {
    return this.seen.size;
  }

  get userIds(): string[] {
    return [...this.users.keys()];
  }

  profileOf(userId: string): Recounted {
    const user = this.users.get(userId)!;
    return {
      scam_message_flags: user.flags,
      total_credit_cards: user.cards.size,
      unique_zip_codes: new Set(user.cards.values()).size,
      total_spend: user.spend / 100,
      total_chargebacks: user.back / 100,
    };
  }

  /** By the two rules that depend on nothing but the totals. */
  mayMessage(userId: string): boolean {
    return this.users.get(userId)!.flags < 2;
  }
}
