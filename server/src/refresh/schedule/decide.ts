/** What the scheduler decides about one item: at its due moment, before its bank is asked, and after a refresh. Pure; times are the application's. */
import { DAY_MS } from '../../base/clock.ts';
import type { StatusCode } from '../../connectors/connector.ts';
import { patienceMs, retryAt } from './back-off.ts';
import { type Circuit, lookAgainAt } from './circuit.ts';
import { draw } from './draw.ts';
import { type Asker, callsFreeAt, callsLeft, type Ledger, loginFreeAt, SCOPES, type Scope, spend } from './ledger.ts';
import type { Rules } from './rules.ts';
import { nextSlot } from './slots.ts';
import type { ScheduleState } from './state.ts';

/** A bank or account type that is not supported may become so: asked again once a week. */
const UNSUPPORTED_AGAIN_MS = 7 * DAY_MS;
/** Statuses after which only the user can help; asking the bank again by ourselves would lock accounts. */
const NEEDS_USER: readonly number[] = [402, 429, 1010, 1100];

export function needsUser(status: number): boolean {
  return NEEDS_USER.includes(status);
}

type Known = { itemId: number; state: ScheduleState; rules: Rules; consentExpiresAt: number | null; circuit: Circuit | null; now: number };

export type AtDue =
  | { kind: 'refresh' }
  /** The bank is suspended, and this item may be the one that asks whether it is back. */
  | { kind: 'probe' }
  /** Null until a refresh that somebody asked for says otherwise. */
  | { kind: 'postpone'; until: number | null }
  /** The status changes without a refresh. */
  | { kind: 'become'; status: 1007 | 1010; info: string | null; until: number | null };

/** An item's moment has come. */
export function decideAtDue({ itemId, state, rules, consentExpiresAt, circuit, now }: Known, status: number): AtDue {
  if (consentExpiresAt !== null && consentExpiresAt <= now) return { kind: 'become', status: 1010, info: 'OTP_REQUIRED', until: null };
  // Its bank was not known when it was given its moment, and is one that only the user may have asked.
  if (!rules.unattended) return { kind: 'postpone', until: null };
  if (circuit) {
    if (circuit.probeAt <= now) return { kind: 'probe' };
    const until = earlier(lookAgainAt(circuit, itemId, now), consentExpiresAt);
    return status === 1007 ? { kind: 'postpone', until } : { kind: 'become', status: 1007, info: null, until };
  }
  const until = Math.max(loginFreeAt(state.ledger, rules, 'scheduler', now), anyFreeAt(state.ledger, rules, 'scheduler', now));
  return until > now ? { kind: 'postpone', until: earlier(until, consentExpiresAt) } : { kind: 'refresh' };
}

export type Asking =
  /** Each account that is named may be fetched. */
  | { kind: 'ask'; mayFetch: (account: string) => boolean }
  /** The bank is not asked: the refresh ends with this. `until` is when asking makes sense again; null without the user. */
  | { kind: 'spare'; status: 402 | 1007 | 1010; info: string | null; until: number | null };

/** `accounts`: the ledger's names of the item's live accounts; `fingerprint`: of its credentials. */
export function decideAsking(known: Known, asker: Asker, accounts: readonly string[], fingerprint: string | null): Asking {
  const { itemId, state, rules, consentExpiresAt, circuit, now } = known;
  const mayFetch = (account: string) => SCOPES.every((scope) => callsLeft(state.ledger, rules, asker, account, scope, now) !== 0);
  const spent = accounts.length > 0 && !accounts.some(mayFetch);
  if (asker !== 'user') {
    if (state.refused !== null && state.refused === fingerprint) return { kind: 'spare', status: 402, info: null, until: null };
    if (consentExpiresAt !== null && consentExpiresAt <= now) return { kind: 'spare', status: 1010, info: 'OTP_REQUIRED', until: null };
    if (circuit && circuit.probeItemId !== itemId)
      return { kind: 'spare', status: 1007, info: null, until: lookAgainAt(circuit, itemId, now) };
    const loginAt = loginFreeAt(state.ledger, rules, asker, now);
    if (loginAt > now) return { kind: 'spare', status: 1007, info: null, until: loginAt };
  }
  if (spent) {
    const until = Math.min(...accounts.map((account) => callsFreeAt(state.ledger, rules, 'scheduler', account, now)));
    return { kind: 'spare', status: 1007, info: null, until };
  }
  return { kind: 'ask', mayFetch };
}

export type Ended = {
  asker: Asker;
  status: StatusCode | 0;
  /** The whole history was asked for, and the bank answered. */
  full: boolean;
  connectedOnce: boolean;
  /** What was spent of the bank; null where it was spared. */
  spent: { logins: number; accounts: readonly string[]; scopes: readonly Scope[] } | null;
  /** When a spared bank may be asked again. */
  sparedUntil: number | null;
  /** The bank's own wish, at whichever of its failures it was the longest. */
  retryAfterMs: number | null;
  fingerprint: string | null;
};

/** After a refresh: what is remembered, and when the scheduler looks at the item again; null where only its user can help. */
export function decideAfter(known: Known, ended: Ended): { state: ScheduleState; dueAt: number | null } {
  const { rules, consentExpiresAt, now } = known;
  const state = remember(known, ended);
  if (!rules.unattended || !ended.connectedOnce) return { state, dueAt: null };
  const consents = consentExpiresAt !== null && consentExpiresAt > now;
  // Who leaves a renewal half way has not taken back the consent that still runs.
  const renewing = ended.status === 1010 && ended.asker === 'user' && consents;
  if (needsUser(ended.status) && !renewing) return { state, dueAt: null };
  const next = nextMoment({ ...known, state }, ended);
  if (next === null) return { state, dueAt: consents ? consentExpiresAt : null };
  const { ledger } = state;
  const possible = Math.max(next, loginFreeAt(ledger, rules, 'scheduler', now), anyFreeAt(ledger, rules, 'scheduler', now));
  return { state, dueAt: consents ? earlier(possible, consentExpiresAt) : possible };
}

/** Whether a refresh at `dueAt` has to look at the whole history, because it is long since one did. */
export function isFullRefreshDue({ fullAt }: ScheduleState, { fullRefreshDays }: Rules, dueAt: number | null): boolean {
  return fullRefreshDays !== null && fullAt !== null && dueAt !== null && dueAt - fullAt >= fullRefreshDays * DAY_MS;
}

function remember({ state, rules, now }: Known, { asker, spent, status, full, fingerprint }: Ended): ScheduleState {
  if (spent === null) return state;
  const mayMend = status === 1003 || status === 1007;
  // The user's own visit may have changed the credentials: what failed before says nothing of what fails now.
  const before = asker === 'user' ? 0 : state.failures;
  const refusedBefore = mayMend && state.refused === fingerprint ? state.refused : null;
  return {
    ledger: spend(state.ledger, rules, asker, spent, now),
    failures: mayMend ? before + 1 : 0,
    refused: status === 402 ? fingerprint : refusedBefore,
    fullAt: rules.fullRefreshDays === null ? null : full ? now : (state.fullAt ?? now),
  };
}

function nextMoment({ itemId, state, rules, now }: Known, { status, spent, sparedUntil, retryAfterMs }: Ended): number | null {
  if (spent === null && sparedUntil !== null) return Math.max(sparedUntil, now + 1);
  if (status === 1003 || status === 1007) {
    return retryAt(Math.max(1, state.failures), retryAfterMs, draw('retry', itemId, state.failures, now), now);
  }
  const restMs = status === 1005 ? UNSUPPORTED_AGAIN_MS : rules.minGapMs;
  // One account may have failed with a wish of the bank where the item as a whole is well.
  return nextSlot(itemId, rules, now + Math.max(restMs, patienceMs(retryAfterMs)));
}

/** When at least one account may be asked: `now` where the ledger names none. */
function anyFreeAt(ledger: Ledger, rules: Rules, asker: Asker, now: number): number {
  const named = new Set(ledger.calls.flatMap(({ accounts }) => accounts));
  let earliest: number | null = null;
  for (const account of named) {
    const freeAt = callsFreeAt(ledger, rules, asker, account, now);
    if (freeAt <= now) return now;
    earliest = earlier(freeAt, earliest);
  }
  return earliest ?? now;
}

function earlier(a: number, b: number | null): number {
  return b === null ? a : Math.min(a, b);
}

/** An answer to "when may I ask again?": for a request of the API, without the user. */
export function possibleAt(known: Known): number | null {
  const { itemId, state, rules, circuit, consentExpiresAt, now } = known;
  if (consentExpiresAt !== null && consentExpiresAt <= now) return null;
  const bank = circuit && circuit.probeItemId !== itemId ? lookAgainAt(circuit, itemId, now) : now;
  return Math.max(bank, loginFreeAt(state.ledger, rules, 'request', now), anyFreeAt(state.ledger, rules, 'request', now));
}

/** Whole days before its consent ends at which the item's schedule says so. */
export const CONSENT_NOTICE_DAYS = [14, 7, 1] as const;

/** The notice that is due: the smallest that has been reached; null before the first and once the consent has ended. */
export function consentNotice(consentExpiresAt: number, now: number): (typeof CONSENT_NOTICE_DAYS)[number] | null {
  const left = consentExpiresAt - now;
  if (left <= 0) return null;
  return CONSENT_NOTICE_DAYS.findLast((days) => left <= days * DAY_MS) ?? null;
}
