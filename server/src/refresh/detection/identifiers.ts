/** How far the bank's own ids of rows can be believed: which are usable, and what the account has taught about them. */
import type { Trust } from './types.ts';

/** Date and position in the day's list: names a place, not a payment. */
const POSITIONAL = /^\d{4}-?\d{2}-?\d{2}[.\-_/]\d{1,4}$/;
const POSITIONAL_LENGTH = { min: 10, max: 15 };

/** Whether an id can name a payment at all; whether it is believed is for the trust to say. */
export function isUsable(id: string): boolean {
  if (id.length < POSITIONAL_LENGTH.min || id.length > POSITIONAL_LENGTH.max) return id !== '';
  return !POSITIONAL.test(id);
}

export type TrustLevel = 'unknown' | 'mixed' | 'stable' | 'unstable';

export const NO_TRUST: Trust = { agreements: 0, disagreements: 0 };
/** What older refreshes count for when a new one brings evidence. */
const DECAY = 0.9;
/** Rows of evidence below which nothing is concluded. */
const EVIDENCE_MIN = 5;
const STABLE_SHARE_MIN = 0.95;
const UNSTABLE_SHARE_BELOW = 0.5;

export function trustLevel(trust: Trust): TrustLevel {
  const evidence = trust.agreements + trust.disagreements;
  if (evidence < EVIDENCE_MIN) return 'unknown';
  const share = trust.agreements / evidence;
  if (share >= STABLE_SHARE_MIN) return 'stable';
  return share < UNSTABLE_SHARE_BELOW ? 'unstable' : 'mixed';
}

/** A refresh without evidence teaches nothing, and forgets nothing. */
export function learn(trust: Trust, seen: Trust, decayed: boolean): Trust {
  if (seen.agreements + seen.disagreements === 0) return trust;
  const kept = decayed ? DECAY : 1;
  return { agreements: trust.agreements * kept + seen.agreements, disagreements: trust.disagreements * kept + seen.disagreements };
}
