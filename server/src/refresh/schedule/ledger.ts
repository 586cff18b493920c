/**
 * The ledger of what an item has asked of its bank in the last 24 hours: logins, and calls for each scope of each account.
 * Pure; kept as one compact JSON on the item's row, which every refresh writes anyway, because a row for each call would
 * cost an unchanged refresh of twelve accounts two dozen inserts and as many deletions a day later.
 */
import { hash } from 'node:crypto';
import { DAY_MS } from '../../base/clock.ts';
import type { ObservedAccount } from '../../connectors/connector.ts';
import type { Rules } from './rules.ts';

export type Scope = 'balances' | 'transactions';
export const SCOPES: readonly Scope[] = ['balances', 'transactions'];

/** The same call for several accounts, made in one refresh. */
export type Spending = { at: number; accounts: readonly string[]; scopes: readonly Scope[] };
export type Ledger = { logins: readonly number[]; calls: readonly Spending[] };

export const EMPTY_LEDGER: Ledger = { logins: [], calls: [] };

/** Banks count in any 24 hours, not from midnight. */
export const WINDOW_MS = DAY_MS;
/** 36 bits: two of an item's 500 accounts at most share a key once in half a million items, and then share a quota. */
const KEY_CHARACTERS = 6;

/**
 * Who asks decides what it may spend: the scheduler leaves a part for requests; who is present spends what is the user's own. The
 * full history (`completion`) follows a visit of the user, but tells the bank that nobody is there, so the bank counts it.
 */
export type Asker = 'scheduler' | 'request' | 'completion' | 'user';

/** The ledger's name for an account: from what the bank says of it, because a new account has no id of ours yet. */
export function accountKey({
  identity,
  type,
  currency,
  name,
}: Pick<ObservedAccount, 'identity' | 'currency' | 'name'> & { type: string }): string {
  const text = identity ?? `${type}\n${currency}\n${name}`;
  return hash('sha256', text, 'base64url').slice(0, KEY_CHARACTERS);
}

/** What still counts at `now`: exactly 24 h after it, a call is forgotten. */
export function forgetOld(ledger: Ledger, now: number): Ledger {
  const counts = (at: number) => at > now - WINDOW_MS;
  return { logins: ledger.logins.filter(counts), calls: ledger.calls.filter(({ at }) => counts(at)) };
}

/** How many calls of an account's scope are left to an asker; null where there is no limit for it. */
export function callsLeft(ledger: Ledger, rules: Rules, asker: Asker, account: string, scope: Scope, now: number): number | null {
  const quota = quotaOf(rules, asker);
  return quota === null ? null : Math.max(0, quota - momentsOf(ledger, account, scope, now).length);
}

/** When an account may be asked for everything again, at the earliest `now`; 0 calls allowed at all is never. */
export function callsFreeAt(ledger: Ledger, rules: Rules, asker: Asker, account: string, now: number): number {
  const quota = quotaOf(rules, asker);
  if (quota === null) return now;
  return Math.max(...SCOPES.map((scope) => freeAt(momentsOf(ledger, account, scope, now), quota, now)));
}

/** When the item may log in again without its user. */
export function loginFreeAt(ledger: Ledger, rules: Rules, asker: Asker, now: number): number {
  if (asker === 'user' || rules.loginsPerDay === null) return now;
  return freeAt(forgetOld(ledger, now).logins, rules.loginsPerDay, now);
}

/** Adds what a refresh spent; what no rule counts is not kept. */
export function spend(
  ledger: Ledger,
  rules: Rules,
  asker: Asker,
  spent: { logins: number; accounts: readonly string[]; scopes: readonly Scope[] },
  now: number,
): Ledger {
  const { logins, calls } = forgetOld(ledger, now);
  const counted = rules.callsPerDay !== null && (asker !== 'user' || rules.countsAttended) && spent.accounts.length > 0;
  return {
    logins: rules.loginsPerDay === null ? logins : [...logins, ...Array<number>(spent.logins).fill(now)].slice(-rules.loginsPerDay),
    calls: counted ? [...calls, { at: now, accounts: spent.accounts, scopes: spent.scopes }] : calls,
  };
}

function quotaOf(rules: Rules, asker: Asker): number | null {
  if (rules.callsPerDay === null) return null;
  switch (asker) {
    case 'scheduler':
      return Math.max(0, rules.callsPerDay - rules.callsKeptForRequests);
    case 'request':
    case 'completion':
      return rules.callsPerDay;
    case 'user':
      return rules.countsAttended ? rules.callsPerDay : null;
    default:
      return asker satisfies never;
  }
}

function momentsOf(ledger: Ledger, account: string, scope: Scope, now: number): number[] {
  return forgetOld(ledger, now)
    .calls.filter(({ accounts, scopes }) => scopes.includes(scope) && accounts.includes(account))
    .map(({ at }) => at);
}

/** Rolling: the quota is free again when enough of the oldest moments have left the window. */
function freeAt(moments: readonly number[], quota: number, now: number): number {
  if (moments.length < quota) return now;
  if (quota === 0) return now + WINDOW_MS;
  return [...moments].sort((a, b) => a - b)[moments.length - quota]! + WINDOW_MS;
}

type Written = { l?: number[]; c?: [at: number, keys: string, scopes: number][] };

export function writeLedger({ logins, calls }: Ledger): Written {
  return {
    ...(logins.length > 0 ? { l: [...logins] } : {}),
    ...(calls.length > 0
      ? {
          c: calls.map(({ at, accounts, scopes }): [number, string, number] => [
            at,
            accounts.join(''),
            SCOPES.reduce((bits, scope, index) => bits | (scopes.includes(scope) ? 1 << index : 0), 0),
          ]),
        }
      : {}),
  };
}

export function readLedger({ l = [], c = [] }: Written): Ledger {
  return {
    logins: l,
    calls: c.map(([at, keys, bits]) => ({
      at,
      accounts: keys.match(new RegExp(`.{${KEY_CHARACTERS}}`, 'g')) ?? [],
      scopes: SCOPES.filter((_, index) => (bits & (1 << index)) !== 0),
    })),
  };
}
