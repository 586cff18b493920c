/** Which account of a bank's list is which stored account of the item, and when one that is not listed is gone. */
import type { AccountType, ObservedAccount } from '../../connectors/connector.ts';
import { norm } from './normalise.ts';

export type StoredAccount = {
  readonly id: number;
  readonly identity: string | null;
  readonly iban: string | null;
  readonly currency: string;
  readonly type: AccountType;
  readonly name: string;
  /** When a complete list first lacked the account; null while it is listed. */
  readonly absentSince: number | null;
  /** How many complete lists in a row lacked it. */
  readonly absences: number;
  readonly deletedAt: number | null;
};

/** In the order they are tried. */
export type AccountRule = 'identity' | 'iban' | 'national_number' | 'name';

export type AccountMatch = {
  readonly stored: StoredAccount;
  readonly observed: ObservedAccount;
  readonly rule: AccountRule;
  /** It was deleted: same id, no `item.account.created`. Its absences start again at 0 in any case. */
  readonly reappeared: boolean;
};
export type MissingAccount = {
  readonly stored: StoredAccount;
  readonly absentSince: number;
  readonly absences: number;
  /** Long and often enough absent: the account is deleted now. */
  readonly deleted: boolean;
};
export type AccountOutcome = {
  readonly matched: readonly AccountMatch[];
  readonly created: readonly ObservedAccount[];
  /** Accounts that a complete list lacks. While there is an anomaly none of them is deleted, but their absence is remembered. */
  readonly missing: readonly MissingAccount[];
  /**
   * The list lacks more than an account holder closes at once (`accounts_lost`), or names no account of an item that never had
   * one (`no_accounts`): nothing is concluded yet, item status 1003.
   */
  readonly anomaly: { readonly kind: 'accounts_lost' | 'no_accounts'; readonly lost: number; readonly known: number } | null;
};

export function matchAccounts(
  stored: readonly StoredAccount[],
  observed: readonly ObservedAccount[],
  listComplete: boolean,
  now: number,
): AccountOutcome {
  const matched = new Map<ObservedAccount, AccountMatch>();
  const open = new Set(stored);
  const pairAlike = (deleted: boolean) => {
    const candidates = [...open].filter((account) => (account.deletedAt !== null) === deleted);
    const waiting = observed.filter((account) => !matched.has(account));
    for (const [before, account] of alikePairs(candidates, waiting)) {
      open.delete(before);
      matched.set(account, { stored: before, observed: account, rule: 'name', reappeared: deleted });
    }
  };
  // Before the rules, which would find a deleted account for one of two that live.
  pairAlike(false);
  for (const rule of RULES) {
    for (const deleted of [false, true]) {
      const candidates = [...open].filter((account) => (account.deletedAt !== null) === deleted);
      const waiting = observed.filter((account) => !matched.has(account));
      for (const [before, account] of pairsOf(rule, candidates, waiting)) {
        open.delete(before);
        matched.set(account, { stored: before, observed: account, rule, reappeared: deleted });
      }
    }
  }
  pairAlike(true);
  const known = stored.filter(({ deletedAt }) => deletedAt === null);
  const lost = known.filter((account) => open.has(account));
  const missing = listComplete ? lost.map((account) => judge(account, now)) : [];
  const unproven = missing.filter((account) => !isLongGone(account, now));
  const anomaly = isImplausible(known.length, unproven.length, observed.length);
  // A login without accounts is not a login to be content with: banks answer so when they fail. An item whose accounts have all
  // been found to be gone is another matter.
  const nothing = observed.length === 0 && stored.length === 0;
  return {
    matched: observed.flatMap((account) => matched.get(account) ?? []),
    created: observed.filter((account) => !matched.has(account)),
    missing: anomaly ? missing.map((account) => ({ ...account, deleted: isLongGone(account, now) })) : missing,
    anomaly: anomaly || nothing ? { kind: anomaly ? 'accounts_lost' : 'no_accounts', lost: unproven.length, known: known.length } : null,
  };
}

const RULES: readonly AccountRule[] = ['identity', 'iban', 'national_number', 'name'];

type Described = StoredAccount | ObservedAccount;

function keyOf(rule: AccountRule, account: Described): string | null {
  const { identity, iban, currency, type, name } = account;
  switch (rule) {
    case 'identity':
      return identity;
    case 'iban':
      return iban === null ? null : `${compact(iban)} ${currency}`;
    case 'national_number': {
      const number = nationalNumber(iban) ?? nationalNumber(identity);
      return number === null ? null : `${number} ${currency}`;
    }
    case 'name':
      return `${type} ${currency} ${norm(name)}`;
    default:
      return rule satisfies never;
  }
}

function compact(number: string): string {
  return number.replace(/[^0-9A-Za-z]/g, '').toUpperCase();
}

const FRENCH_IBAN = /^FR\d{2}\d{10}([0-9A-Z]{11})\d{2}$/;
/** Bank, branch, account, check digits. */
const RIB = /^\d{10}([0-9A-Z]{11})\d{2}$/;

/** The eleven characters of a French account number, which outlive a change of branch. */
function nationalNumber(text: string | null): string | null {
  if (text === null) return null;
  const number = compact(text);
  return (FRENCH_IBAN.exec(number) ?? RIB.exec(number))?.[1] ?? null;
}

/** Pairs whose key is the same and unique on both sides; where it is not (accounts that share an IBAN), with currency and name. */
function pairsOf(
  rule: AccountRule,
  stored: readonly StoredAccount[],
  observed: readonly ObservedAccount[],
): [StoredAccount, ObservedAccount][] {
  const allowed = (before: StoredAccount, account: ObservedAccount) => !contradicts(rule, before, account);
  const pairs: [StoredAccount, ObservedAccount][] = [];
  for (const group of groupsOf((account) => keyOf(rule, account), stored, observed)) {
    if (group.stored.length === 1 && group.observed.length === 1) {
      if (allowed(group.stored[0]!, group.observed[0]!)) pairs.push([group.stored[0]!, group.observed[0]!]);
      continue;
    }
    for (const { stored: before, observed: now } of groupsOf(
      (account) => `${account.currency} ${norm(account.name)}`,
      group.stored,
      group.observed,
    )) {
      if (before.length === 1 && now.length === 1 && allowed(before[0]!, now[0]!)) pairs.push([before[0]!, now[0]!]);
    }
  }
  return pairs;
}

/**
 * Accounts of which the bank says nothing that tells them apart: the first with the first. They may change places; but taken
 * for new ones they would be created anew at every refresh, and all their rows with them.
 */
function alikePairs(stored: readonly StoredAccount[], observed: readonly ObservedAccount[]): [StoredAccount, ObservedAccount][] {
  const all = ({ identity, iban, currency, type, name }: Described) =>
    JSON.stringify([identity, iban && compact(iban), currency, type, norm(name)]);
  return groupsOf(all, stored, observed)
    .filter((group) => group.stored.length > 1 || group.observed.length > 1)
    .flatMap((group) =>
      group.observed.slice(0, group.stored.length).map((account, at): [StoredAccount, ObservedAccount] => [group.stored[at]!, account]),
    );
}

/** A weak rule never overrides what both sides state: two savings accounts of one name are two accounts. */
function contradicts(rule: AccountRule, stored: StoredAccount, observed: ObservedAccount): boolean {
  if (rule !== 'name') return false;
  const identities = stored.identity !== null && observed.identity !== null && stored.identity !== observed.identity;
  return identities || (stored.iban !== null && observed.iban !== null && compact(stored.iban) !== compact(observed.iban));
}

type AccountGroup = { readonly stored: StoredAccount[]; readonly observed: ObservedAccount[] };

function groupsOf(
  key: (account: Described) => string | null,
  stored: readonly StoredAccount[],
  observed: readonly ObservedAccount[],
): AccountGroup[] {
  const groups = new Map<string, AccountGroup>();
  const groupOf = (account: Described): AccountGroup | null => {
    const name = key(account);
    if (name === null) return null;
    const group = groups.get(name) ?? { stored: [], observed: [] };
    groups.set(name, group);
    return group;
  };
  for (const account of stored) groupOf(account)?.stored.push(account);
  for (const account of observed) groupOf(account)?.observed.push(account);
  return [...groups.values()];
}

/** From this many accounts on, losing more than half at once is the bank's failure rather than the user's wish. */
const ACCOUNTS_LOST_OF_MIN = 3;

function isImplausible(known: number, lost: number, listed: number): boolean {
  if (lost === 0) return false;
  return listed === 0 || (known >= ACCOUNTS_LOST_OF_MIN && lost > known / 2);
}

/** Two looks, most of a day apart: banks lose accounts overnight and find them in the morning. */
const ABSENT_MS = 20 * 3_600_000;
const ABSENCES_MIN = 2;

function judge(stored: StoredAccount, now: number): MissingAccount {
  const absentSince = stored.absentSince ?? now;
  const absences = stored.absences + 1;
  return { stored, absentSince, absences, deleted: absences >= ABSENCES_MIN && now - absentSince >= ABSENT_MS };
}

/** A loss of most accounts is believed once it has outlived a bank's weekend: docs/decisions has the reasons. */
const LONG_GONE_MS = 68 * 3_600_000;
const LONG_GONE_ABSENCES_MIN = 4;

function isLongGone({ absences, absentSince }: MissingAccount, now: number): boolean {
  return absences >= LONG_GONE_ABSENCES_MIN && now - absentSince >= LONG_GONE_MS;
}
