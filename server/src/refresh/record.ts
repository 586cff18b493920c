/** What a refresh leaves behind to be read: what was asked and answered, what was found, and why nothing was done where rows were missing. */
import { toNumber } from '../base/money.ts';
import type { Balance, Batch, CalendarDate, Coverage, Failure, StatusCode } from '../connectors/connector.ts';
import type { FetchedAccount } from './bank.ts';
import type { AccountOutcome, AccountRule } from './detection/accounts.ts';
import { type TrustLevel, trustLevel } from './detection/identifiers.ts';
import type { Anomaly, HoldReason, Outcome, StoredTransaction } from './detection/types.ts';
import type { SparedFor } from './schedule/decide.ts';

/** Kept as JSON in `refreshes.record`; a version that reads an older one finds fields absent. */
export type RefreshRecord = {
  /** Calls made to the bank; attended ones may cost nothing of a quota. */
  calls: number;
  attended: boolean;
  /** What the bank's list of accounts said; null where it was not reached. */
  list: { complete: boolean; accounts: number; anomaly: AccountOutcome['anomaly'] } | null;
  accounts: readonly AccountNote[];
};

export type AccountNote = {
  account_id: number;
  /** The rule that told which account it is; `new`, or `not_listed` where the bank's list lacks it. */
  matched_by: AccountRule | 'new' | 'not_listed';
  asked: { phase: 'recent' | 'full' | 'incremental'; from: CalendarDate | null } | null;
  answered:
    | { rows: { booked: number; pending: number; scheduled: number }; coverage: readonly Coverage[] }
    | { failed: StatusCode; info: string | null }
    /** The bank was not asked. */
    | { spared: true; because: SparedFor }
    | null;
  /** The refresh whose answer was the same and was compared row by row; null where this one was. */
  same_as: string | null;
  new: number;
  updated: number;
  deleted: number;
  /** How many of `updated` came back from deletion. */
  resurrected: number;
  /** Booked rows that a complete list lacks, kept for a second opinion. */
  held: Partial<Record<HoldReason, number>>;
  /** Stored rows that the answer does not hold and does not speak of: left as they are. */
  not_shown: { outside_window: number; not_vouched: number };
  balance: { before: ShownBalance | null; after: ShownBalance | null; explained: boolean };
  anomalies: readonly (Anomaly | AccountOutcome['anomaly'])[];
  /** Rows whose deletion the breaker holds until a second refresh, or the operator, agrees. */
  breaker: number;
  ids: { trust: TrustLevel; conflicts: number };
  /** Of an account that the bank does not list: in how many complete lists in a row, since when, and whether it is deleted now. */
  absent: { lists: number; since: number; deleted: boolean } | null;
};

/** Rows of all accounts of a refresh; nothing where no record was kept. */
export function totalsOf(record: RefreshRecord | null): { new: number; updated: number; deleted: number; held: number } {
  const totals = { new: 0, updated: 0, deleted: 0, held: 0 };
  for (const note of record?.accounts ?? []) {
    totals.new += note.new;
    totals.updated += note.updated;
    totals.deleted += note.deleted;
    for (const rows of Object.values(note.held)) totals.held += rows;
  }
  return totals;
}

type ShownBalance = { amount: number; currency_code: string; kind: string };

const NOTHING: Omit<AccountNote, 'account_id' | 'matched_by' | 'asked' | 'answered'> = {
  same_as: null,
  new: 0,
  updated: 0,
  deleted: 0,
  resurrected: 0,
  held: {},
  not_shown: { outside_window: 0, not_vouched: 0 },
  balance: { before: null, after: null, explained: true },
  anomalies: [],
  breaker: 0,
  ids: { trust: 'unknown', conflicts: 0 },
  absent: null,
};

export function noteOfFailed(
  accountId: number,
  matchedBy: AccountNote['matched_by'],
  asked: FetchedAccount['asked'],
  failure: Failure,
): AccountNote {
  const answered = { failed: failure.status, info: failure.info };
  return { account_id: accountId, matched_by: matchedBy, asked, answered, ...NOTHING };
}

export function noteOfSpared(
  accountId: number,
  matchedBy: AccountNote['matched_by'],
  asked: FetchedAccount['asked'],
  because: SparedFor,
): AccountNote {
  return { account_id: accountId, matched_by: matchedBy, asked, answered: { spared: true, because }, ...NOTHING };
}

export function noteOfAbsent(accountId: number, absent: NonNullable<AccountNote['absent']>): AccountNote {
  return { account_id: accountId, matched_by: 'not_listed', asked: null, answered: null, ...NOTHING, absent };
}

export function noteOfCompared(
  accountId: number,
  matchedBy: AccountNote['matched_by'],
  asked: FetchedAccount['asked'],
  compared: {
    batches: readonly Batch[];
    rows: readonly StoredTransaction[];
    outcome: Outcome;
    balanceBefore: Balance | null;
    sameAs: string | null;
  },
): AccountNote {
  const { batches, rows, outcome, balanceBefore, sameAs } = compared;
  const held: AccountNote['held'] = {};
  for (const { reason } of outcome.held) held[reason] = (held[reason] ?? 0) + 1;
  return {
    account_id: accountId,
    matched_by: matchedBy,
    asked,
    answered: { rows: countByStatus(batches), coverage: batches.map(({ coverage }) => coverage) },
    same_as: sameAs,
    ...outcome.counts,
    resurrected: outcome.updated.filter(({ before }) => before.deletedAt !== null).length,
    held,
    not_shown: sameAs === null ? notShown(rows, batches, outcome) : NOTHING.not_shown,
    balance: { before: shown(balanceBefore), after: shown(outcome.balance), explained: outcome.explained },
    anomalies: outcome.anomalies,
    breaker: outcome.breaker?.rows.length ?? 0,
    ids: { trust: trustLevel(outcome.trust), conflicts: outcome.idConflicts },
    absent: null,
  };
}

function shown(balance: Balance | null): ShownBalance | null {
  return balance && { amount: toNumber(balance.amount), currency_code: balance.amount.currency, kind: balance.kind };
}

function countByStatus(batches: readonly Batch[]): { booked: number; pending: number; scheduled: number } {
  const counts = { booked: 0, pending: 0, scheduled: 0 };
  for (const { observations } of batches) for (const { status } of observations) counts[status] += 1;
  return counts;
}

/**
 * Every fetched row was paired with a stored one or became a new one; so the numbers tell how many stored rows were not in
 * the list. Of those, the ones older than all that was asked are outside the window; the others stand in a list that vouches
 * for nothing. Several lists (files) may each hold a part: then nothing is said.
 */
function notShown(rows: readonly StoredTransaction[], batches: readonly Batch[], outcome: Outcome): AccountNote['not_shown'] {
  if (batches.length !== 1) return NOTHING.not_shown;
  const { coverage, observations } = batches[0]!;
  const dated = observations.filter((row) => (row.bookingDate ?? row.transactionDate ?? row.valueDate) !== undefined);
  const returned = outcome.updated.filter(({ before }) => before.deletedAt !== null).length;
  let live = 0;
  let outside = 0;
  for (const { deletedAt, date } of rows) {
    if (deletedAt !== null) continue;
    live += 1;
    if (coverage.windows.every(({ from, to }) => date < from || date > to)) outside += 1;
  }
  const recreated = outcome.created.filter(({ cause }) => cause === 'recreated').length;
  const paired = dated.length - outcome.created.length - returned + recreated;
  const gone = outcome.held.length + outcome.deleted.length - recreated;
  const absent = Math.max(0, live - paired - gone);
  const outsideWindow = Math.min(absent, outside);
  return { outside_window: outsideWindow, not_vouched: absent - outsideWindow };
}
