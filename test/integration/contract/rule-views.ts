import { expect } from 'chai';
import type { HttpClient } from '../../support/http-client.js';

export interface TripwireView {
  readonly state: 'armed' | 'tripped';
  readonly affected: number;
  readonly population: number;
  readonly share: number;
  readonly max_share: number;
  readonly max_users: number | null;
  readonly min_population: number;
  readonly window_seconds: number;
  readonly tripped_at: string | null;
}

export interface RuleView {
  readonly name: string;
  readonly version: number;
  readonly mode: 'live' | 'shadow' | 'off';
  readonly feature: string;
  readonly tripwire: TripwireView;
}

/** The answer of `GET /rules`; what the contract names must be there. */
export async function rules(http: HttpClient): Promise<readonly RuleView[]> {
  const { status, body } = await http.get<{ rules: RuleView[] }>('/rules');
  expect(status).to.equal(200);
  for (const shown of body.rules) {
    expect(shown).to.include.all.keys('name', 'version', 'mode', 'feature', 'tripwire');
    expect(shown.tripwire).to.include.all.keys(
      ...['state', 'affected', 'population', 'share', 'max_share', 'max_users', 'min_population'],
      ...['window_seconds', 'tripped_at'],
    );
  }
  return body.rules;
}

export async function rule(http: HttpClient, name: string): Promise<RuleView> {
  return (await rules(http)).find((shown) => shown.name === name)!;
}
