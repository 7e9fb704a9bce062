import { expect } from 'chai';
import type { HttpClient } from '../../support/http-client.js';
import { until } from '../../support/redis-server.js';

/** Posted events, as the contract writes them. */
export type Posted = Readonly<Record<string, unknown>>;

export const flag = (user_id: string, more: object = {}): Posted => ({
  name: 'scam_message_flagged',
  event_properties: { user_id },
  ...more,
});
export const card = (user_id: string, card_id: string, zip_code: string, more: object = {}): Posted => ({
  name: 'credit_card_added',
  event_properties: { user_id, card_id, zip_code },
  ...more,
});
export const purchase = (user_id: string, amount: number, more: object = {}): Posted => ({
  name: 'purchase_made',
  event_properties: { user_id, amount },
  ...more,
});
export const chargeback = (user_id: string, amount: number, more: object = {}): Posted => ({
  name: 'chargeback_occurred',
  event_properties: { user_id, amount },
  ...more,
});

export interface Profile {
  readonly scam_message_flags: number;
  readonly total_credit_cards: number;
  readonly unique_zip_codes: number;
  readonly total_spend: number;
  readonly total_chargebacks: number;
}

export interface RestrictionView {
  readonly feature: string;
  readonly source: string;
  readonly rule: string | null;
  readonly rule_version: number | null;
  readonly reason: string;
  readonly evidence: readonly string[];
  readonly restricted_at: string;
  readonly expires_at: string | null;
}

export interface UserView {
  readonly user_id: string;
  readonly restrictions: readonly RestrictionView[];
  readonly profile: Profile;
}

export const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

export const UNKNOWN_PROFILE: Profile = {
  scam_message_flags: 0,
  total_credit_cards: 0,
  unique_zip_codes: 0,
  total_spend: 0,
  total_chargebacks: 0,
};

/** What a caller can ask of weir about people. Every answer that is not 200 fails the test. */
export class People {
  constructor(private readonly http: HttpClient) {}

  async post(event: Posted): Promise<void> {
    expect((await this.http.post('/event', event)).status).to.equal(202);
  }

  /** One batch, all of which must be accepted. */
  async postAll(events: readonly Posted[]): Promise<void> {
    const { status, body } = await this.http.post('/events', events);
    expect([status, body]).to.deep.equal([202, { accepted: events.length, rejected: [] }]);
  }

  async view(user: string): Promise<UserView> {
    const { status, body } = await this.http.get<UserView>(`/users/${encodeURIComponent(user)}/restrictions`);
    expect(status).to.equal(200);
    return body;
  }

  /** Rules that restrict the user, with `manual` for a person's decision. */
  async restrictedBy(user: string): Promise<readonly string[]> {
    return (await this.view(user)).restrictions.map(({ source, rule }) => rule ?? source);
  }

  async canMessage(user: string): Promise<boolean> {
    const query = `user_id=${encodeURIComponent(user)}`;
    const { status, body } = await this.http.get<{ can_message: boolean }>(`/canmessage?${query}`);
    expect([status, Object.keys(body)]).to.deep.equal([200, ['can_message']]);
    return body.can_message;
  }

  async canPurchase(user: string): Promise<boolean> {
    const query = `user_id=${encodeURIComponent(user)}`;
    const { status, body } = await this.http.get<{ can_purchase: boolean }>(`/canpurchase?${query}`);
    expect([status, Object.keys(body)]).to.deep.equal([200, ['can_purchase']]);
    return body.can_purchase;
  }

  /** Waits until what was posted shows in the user's profile; nothing else may show. */
  async counted(user: string, profile: Partial<Profile>): Promise<void> {
    const wanted = { ...UNKNOWN_PROFILE, ...profile };
    let seen: Profile = UNKNOWN_PROFILE;
    try {
      await until(10_000, `the profile of ${user}`, async () => {
        seen = (await this.view(user)).profile;
        return JSON.stringify(seen) === JSON.stringify(wanted);
      });
    } catch {
      expect(seen).to.deep.equal(wanted);
    }
  }

  /** Restricts the user by `scam_message_rule`: two flags, and waits for the decision. */
  async restrictByFlags(user: string): Promise<void> {
    await this.postAll([flag(user), flag(user)]);
    await until(10_000, `${user} is restricted`, async () => !(await this.canMessage(user)));
  }

  /** Restricts the user by `chargeback_ratio_rule`. */
  async restrictByChargebacks(user: string): Promise<void> {
    await this.postAll([purchase(user, 10), chargeback(user, 9)]);
    await until(10_000, `${user} is restricted`, async () => !(await this.canPurchase(user)));
  }
}
