import type { Rule } from '../rule.js';

const FLAGS_MIN = 2;

export const scamMessageRule: Rule = {
  name: 'scam_message_rule',
  version: 1,
  feature: 'message',
  mode: 'live',
  description: `No messages after ${FLAGS_MIN} flagged scam messages.`,
  evidence: ['scam_message_flagged'],
  matches: ({ profile }) =>
    profile.scamFlags >= FLAGS_MIN ? `${profile.scamFlags} messages were flagged as scam` : null,
  reset: (profile) => ({ ...profile, scamFlags: 0 }),
};
