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
  const { ledger } = state;
  const freeAt = Math.max(loginFreeAt(ledger, rules, 'scheduler', now), anyFreeAt(ledger, rules, 'scheduler', now));
  const until = Math.max(freeAt, leftInPeaceUntil(state, now));
  return until > now ? { kind: 'postpone', until: earlier(until, consentExpiresAt) } : { kind: 'refresh' };
}

/** Why an account is not asked: its quota is spent, it failed and the bank wishes to be left in peace, or it answered and only those that failed are tried again. */
export type SparedFor = 'quota' | 'wish' | 'answered';

export type Asking =
  /** Of each account that is named, whether it is fetched: null where it is. */
  | { kind: 'ask'; sparedFor: (account: string) => SparedFor | null }
  /** The bank is not asked: the refresh ends with this. `until` is when asking makes sense again; null without the user. */
  | { kind: 'spare'; status: 402 | 1007 | 1010; info: string | null; until: number | null };

/** Whether the scheduler's next refresh is there for the accounts that failed: the others are not due yet. */
export function asksOnlyFailed({ someFailed }: ScheduleState, asker: Asker, now: number): boolean {
  return asker === 'scheduler' && someFailed?.slot != null && now < someFailed.slot;
}

/** Until when the bank wishes to be left in peace by the whole item; `now` where it does not. */
function leftInPeaceUntil({ patientUntil, someFailed }: ScheduleState, now: number): number {
  return patientUntil !== null && someFailed === null ? Math.max(patientUntil, now) : now;
}

/**
 * By the ledger's names: `accounts` are the item's live ones, `failed` those of them that failed last time. `fingerprint` is of
 * its credentials. `onlyFailed`: the others are not due. `again`: an earlier run of the same refresh failed by a fault of ours.
 */
export function decideAsking(
  known: Known,
  asker: Asker,
  accounts: readonly string[],
  fingerprint: string | null,
  { failed = new Set(), onlyFailed = false, again = false }: { failed?: ReadonlySet<string>; onlyFailed?: boolean; again?: boolean } = {},
): Asking {
  const { itemId, state, rules, consentExpiresAt, circuit, now } = known;
  // Whose word is new.
  const insists = asker === 'user' && !again;
  const patientUntil = insists ? now : Math.max(state.patientUntil ?? now, now);
  const answered = new Set(onlyFailed ? accounts.filter((account) => !failed.has(account)) : []);
  const sparedFor = (account: string): SparedFor | null => {
    if (answered.has(account)) return 'answered';
    if (patientUntil > now && failed.has(account)) return 'wish';
    return SCOPES.every((scope) => callsLeft(state.ledger, rules, asker, account, scope, now) !== 0) ? null : 'quota';
  };
  const due = accounts.filter((account) => !answered.has(account));
  const spent = due.length > 0 && due.every((account) => sparedFor(account) !== null);
  const visit = asker === 'user' || asker === 'completion';
  if ((!visit || again) && state.refused !== null && state.refused === fingerprint)
    return { kind: 'spare', status: 402, info: null, until: null };
  if (!visit) {
    if (consentExpiresAt !== null && consentExpiresAt <= now) return { kind: 'spare', status: 1010, info: 'OTP_REQUIRED', until: null };
    if (circuit && circuit.probeItemId !== itemId)
      return { kind: 'spare', status: 1007, info: null, until: lookAgainAt(circuit, itemId, now) };
  }
  if (!visit || again) {
    const loginAt = loginFreeAt(state.ledger, rules, again ? 'request' : asker, now);
    if (loginAt > now) return { kind: 'spare', status: 1007, info: null, until: loginAt };
  }
  const inPeaceUntil = insists ? now : leftInPeaceUntil(state, now);
  if (inPeaceUntil > now) return { kind: 'spare', status: 1007, info: null, until: inPeaceUntil };
  if (spent) {
    const freeAt = (account: string) =>
      Math.max(callsFreeAt(state.ledger, rules, 'scheduler', account, now), failed.has(account) ? patientUntil : now);
    const until = Math.min(...due.map(freeAt));
    return { kind: 'spare', status: 1007, info: null, until };
  }
  return { kind: 'ask', sparedFor };
}

export type Ended = {
  asker: Asker;
  status: StatusCode | 0;
  /** The ledger's names of the accounts that fail while the others answer; null where none does, or the refresh failed as a whole. */
  someFailed: readonly string[] | null;
  /** It asked for accounts that had failed before, and for no others. */
  onlyFailed: boolean;
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
  const slotBefore = known.state.someFailed?.slot ?? null;
  if (!rules.unattended || !ended.connectedOnce) return { state, dueAt: null };
  const consents = consentExpiresAt !== null && consentExpiresAt > now;
  // Who leaves a renewal half way has not taken back the consent that still runs.
  const renewing = ended.status === 1010 && (ended.asker === 'user' || ended.asker === 'completion') && consents;
  if (needsUser(ended.status) && !renewing) return { state, dueAt: null };
  const next = nextMoment({ ...known, state }, slotBefore, ended);
  if (next === null) return { state, dueAt: consents ? consentExpiresAt : null };
  const { ledger } = state;
  const possible = Math.max(next, loginFreeAt(ledger, rules, 'scheduler', now), anyFreeAt(ledger, rules, 'scheduler', now));
  const again = failedAgainAt({ ...known, state }, ended) ?? possible;
  const dueAt = Math.min(again, possible);
  const someFailed = state.someFailed && again < possible ? { ...state.someFailed, slot: possible } : state.someFailed;
  return { state: { ...state, someFailed }, dueAt: consents ? earlier(dueAt, consentExpiresAt) : dueAt };
}

/** Whether a refresh at `dueAt` has to look at the whole history, because it is long since one did. */
export function isFullRefreshDue({ fullAt, someFailed }: ScheduleState, { fullRefreshDays }: Rules, dueAt: number | null): boolean {
  // That is for all accounts, at their slot.
  if (someFailed?.slot != null) return false;
  return fullRefreshDays !== null && fullAt !== null && dueAt !== null && dueAt - fullAt >= fullRefreshDays * DAY_MS;
}

function remember(
  { state, rules, now }: Known,
  { asker, spent, status, someFailed, full, retryAfterMs, fingerprint }: Ended,
): ScheduleState {
  if (spent === null) return state;
  const mayMend = status === 1003 || status === 1007;
  // The user's own visit may have changed the credentials: what failed before says nothing of what fails now.
  const before = asker === 'user' ? 0 : state.failures;
  const someBefore = asker === 'user' ? 0 : (state.someFailed?.times ?? 0);
  const patientBefore = asker === 'user' ? now : (state.patientUntil ?? now);
  const patientUntil = Math.max(patientBefore, now + patienceMs(retryAfterMs));
  const refusedBefore = mayMend && state.refused === fingerprint ? state.refused : null;
  return {
    ledger: spend(state.ledger, rules, asker, spent, now),
    failures: mayMend && someFailed === null ? before + 1 : 0,
    someFailed: someFailed === null ? null : { times: someBefore + 1, slot: null },
    patientUntil: mayMend && patientUntil > now ? patientUntil : null,
    refused: status === 402 ? fingerprint : refusedBefore,
    fullAt: rules.fullRefreshDays === null ? null : full ? now : (state.fullAt ?? now),
  };
}

/** When all accounts are asked again. */
function nextMoment({ itemId, state, rules, now }: Known, slotBefore: number | null, ended: Ended): number | null {
  const { status, someFailed, onlyFailed, spent, sparedUntil, retryAfterMs } = ended;
  if (spent === null && sparedUntil !== null) return Math.max(sparedUntil, now + 1);
  if ((status === 1003 || status === 1007) && someFailed === null) {
    const retry = retryAt(Math.max(1, state.failures), retryAfterMs, draw('retry', itemId, state.failures, now), now);
    return Math.max(retry, state.patientUntil ?? now);
  }
  // One account may have failed with a wish of the bank where the others are well.
  const patientUntil = Math.max(now + patienceMs(retryAfterMs), state.patientUntil ?? now);
  // What asked only some accounts has not moved the slot of the others.
  if (onlyFailed && slotBefore !== null && status !== 1005) {
    const slot = Math.max(slotBefore, now + 1);
    return slot >= patientUntil ? slot : nextSlot(itemId, rules, patientUntil);
  }
  const restMs = status === 1005 ? UNSUPPORTED_AGAIN_MS : rules.minGapMs;
  return nextSlot(itemId, rules, Math.max(now + restMs, patientUntil));
}

/** When those that fail are tried again, ahead of the others; null where nothing is to be tried. */
function failedAgainAt({ itemId, state, rules, now }: Known, { someFailed, spent, retryAfterMs }: Ended): number | null {
  if (someFailed === null || spent === null) return null;
  const times = state.someFailed?.times ?? 1;
  const freeAt = Math.min(...someFailed.map((account) => callsFreeAt(state.ledger, rules, 'scheduler', account, now)));
  // The others' slots of a day keep their logins.
  const loginsPerDay = rules.loginsPerDay === null ? null : Math.max(0, rules.loginsPerDay - rules.maxUnattendedPerDay);
  const loginAt = loginFreeAt(state.ledger, { ...rules, loginsPerDay }, 'scheduler', now);
  return Math.max(freeAt, loginAt, state.patientUntil ?? now, retryAt(times, retryAfterMs, draw('retry', itemId, times, now), now));
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

/** Whether the full history may follow the first data at once; where it may not, whichever refresh is next brings it. */
export function mayComplete({ ledger }: ScheduleState, rules: Rules, now: number): boolean {
  return anyFreeAt(ledger, rules, 'completion', now) <= now;
}

/** An answer to "when may I ask again?": for a request of the API, without the user. */
export function possibleAt(known: Known): number | null {
  const { itemId, state, rules, circuit, consentExpiresAt, now } = known;
  if (consentExpiresAt !== null && consentExpiresAt <= now) return null;
  const bank = circuit && circuit.probeItemId !== itemId ? lookAgainAt(circuit, itemId, now) : now;
  const { ledger } = state;
  const peace = leftInPeaceUntil(state, now);
  return Math.max(bank, peace, loginFreeAt(ledger, rules, 'request', now), anyFreeAt(ledger, rules, 'request', now));
}

/** Whole days before its consent ends at which the item's schedule says so. */
export const CONSENT_NOTICE_DAYS = [14, 7, 1] as const;

/** The notice that is due: the smallest that has been reached; null before the first and once the consent has ended. */
export function consentNotice(consentExpiresAt: number, now: number): (typeof CONSENT_NOTICE_DAYS)[number] | null {
  const left = consentExpiresAt - now;
  if (left <= 0) return null;
  return CONSENT_NOTICE_DAYS.findLast((days) => left <= days * DAY_MS) ?? null;
}
