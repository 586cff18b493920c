/**
 * From a bank's answer to what will be written: rows, accounts, the item and the events, in their order. Pure: ids of new
 * rows (negative placeholders here) and timestamps are given when the plan is committed; rows know which event reports them.
 */

import type { AccountRecord } from '../accounts/accounts.ts';
import { HOUR_MS } from '../base/clock.ts';
import type { Money } from '../base/money.ts';
import type { ObservedAccount, StatusCode } from '../connectors/connector.ts';
import { defaultInfo, worstStatus } from '../connectors/statuses.ts';
import type { EventDraft } from '../events/catalogue.ts';
import type { Item } from '../items/items.ts';
import type { TransactionRecord } from '../transactions/transactions.ts';
import type { BankAnswer, FetchedAccount } from './bank.ts';
import { type AccountOutcome, matchAccounts } from './detection/accounts.ts';
import { detect } from './detection/detect.ts';
import { NO_TRUST, trustLevel } from './detection/identifiers.ts';
import type { Breaker, Created, Outcome, Trust } from './detection/types.ts';

/** A row of the record that a refresh leaves behind: what was asked, answered and found for one account. */
export type AccountNote = {
  account_id: number;
  coverage: unknown;
  new: number;
  updated: number;
  deleted: number;
  held: number;
  explained: boolean;
  anomalies: readonly unknown[];
  reasons: readonly { row: number; change: string; why: string }[];
};

/** Changes of one account, and the index (in `drafts`) of the event whose timestamp its rows carry; null without an event. */
export type PlannedAccount = {
  record: AccountRecord;
  isNew: boolean;
  changed: boolean;
  rows: { created: readonly Created[]; counted: readonly TransactionRecord[]; uncounted: readonly TransactionRecord[] };
  event: number | null;
  note: AccountNote;
};

export type Plan = {
  accounts: readonly PlannedAccount[];
  drafts: readonly EventDraft[];
  status: StatusCode;
  statusCodeInfo: string | null;
  fullRefresh: boolean;
  fullRefreshWanted: boolean;
  refreshed: number;
  total: number;
};

export type PlanInput = {
  item: Pick<Item, 'id' | 'userUuid'>;
  answer: Extract<BankAnswer, { kind: 'answered' }>;
  stored: readonly AccountRecord[];
  rows: ReadonlyMap<number, readonly TransactionRecord[]>;
  phase: 'recent' | 'full' | 'incremental';
  now: number;
};

/** Which stored account each observed one is, and what becomes of those that were not observed. */
export function identifyAccounts(stored: readonly AccountRecord[], answer: PlanInput['answer'], now: number): AccountOutcome {
  return matchAccounts(
    stored.map((account) => ({ ...account, type: account.type as ObservedAccount['type'] })),
    answer.accounts.map(({ account }) => account),
    answer.listComplete,
    now,
  );
}

export function planRefresh(input: PlanInput, decisions: AccountOutcome, accountIds: readonly number[]): Plan {
  const storedById = new Map(input.stored.map((account) => [account.id, account]));
  const fetchedByAccount = new Map(input.answer.accounts.map((fetched) => [fetched.account, fetched]));
  const live = { created: [] as EventDraft[], updated: [] as EventDraft[], deleted: [] as EventDraft[] };
  const reports = new Map<number, EventDraft>();
  const accounts: Omit<PlannedAccount, 'event'>[] = [];
  const unusedIds = [...accountIds];
  const owner = { itemId: input.item.id, userUuid: input.item.userUuid };
  let refreshed = 0;
  let historyComplete = input.answer.accounts.length > 0;
  let fullRefreshWanted = false;

  const observe = (fetched: FetchedAccount, before: AccountRecord | null, reappeared: boolean) => {
    const planned = planAccount(input, fetched, before ?? newAccount(fetched.account, unusedIds.shift()!), before === null, reappeared);
    accounts.push(planned.account);
    const { record } = planned.account;
    if (fetched.answer.kind === 'fetched') refreshed += 1;
    historyComplete &&= fetched.answer.kind === 'fetched' && fetched.answer.batches.every(({ coverage }) => coverage.historyComplete);
    fullRefreshWanted ||= planned.outcome?.fullRefreshWanted ?? false;
    const balance: Money | null = record.balance?.amount ?? null;
    if (!before) live.created.push({ type: 'item.account.created', ...owner, accountId: record.id, balance });
    const counts = planned.outcome?.counts ?? { new: 0, updated: 0, deleted: 0 };
    const counted = counts.new + counts.updated + counts.deleted > 0;
    if (counted || reappeared || (before !== null && (planned.outcome?.balanceChanged ?? false))) {
      const draft: EventDraft = {
        type: 'item.account.updated',
        ...owner,
        accountId: record.id,
        balance,
        created: counts.new,
        updated: counts.updated,
        deleted: counts.deleted,
      };
      live.updated.push(draft);
      reports.set(record.id, draft);
    }
  };

  for (const { stored, observed, reappeared } of decisions.matched)
    observe(fetchedByAccount.get(observed)!, storedById.get(stored.id)!, reappeared);
  for (const observed of decisions.created) observe(fetchedByAccount.get(observed)!, null, false);
  for (const missing of decisions.missing) {
    const before = storedById.get(missing.stored.id)!;
    const record = {
      ...before,
      absentSince: missing.absentSince,
      absences: missing.absences,
      deletedAt: missing.deleted ? input.now : before.deletedAt,
    };
    accounts.push({ record, isNew: false, changed: true, rows: { created: [], counted: [], uncounted: [] }, note: emptyNote(record.id) });
    if (missing.deleted && before.deletedAt === null) live.deleted.push({ type: 'item.account.deleted', ...owner, accountId: record.id });
  }

  const status: StatusCode = decisions.anomaly
    ? 1003
    : worstStatus(accounts.filter(({ record }) => record.deletedAt === null).map(({ record }) => record.status as StatusCode));
  const statusCodeInfo = defaultInfo(status);
  const fullRefresh = input.phase !== 'incremental' && historyComplete && status === 0;
  const refreshedDraft: EventDraft = {
    type: 'item.refreshed',
    itemId: owner.itemId,
    userUuid: owner.userUuid,
    fullRefresh,
    statusCode: status,
    statusCodeInfo,
  };
  const drafts = [...live.created, ...live.updated, ...live.deleted, refreshedDraft];
  const total = input.answer.accounts.length;
  return {
    accounts: accounts.map((account) => ({ ...account, event: eventIndex(drafts, reports.get(account.record.id)) })),
    drafts,
    status,
    statusCodeInfo,
    fullRefresh,
    fullRefreshWanted: fullRefreshWanted || decisions.anomaly !== null,
    refreshed,
    total,
  };
}

function eventIndex(drafts: readonly EventDraft[], draft: EventDraft | undefined): number | null {
  return draft ? drafts.indexOf(draft) : null;
}

function planAccount(
  input: PlanInput,
  { account: observed, answer }: FetchedAccount,
  base: AccountRecord,
  isNew: boolean,
  reappeared: boolean,
): { account: Omit<PlannedAccount, 'event'>; outcome: Outcome | null } {
  const described: AccountRecord = {
    ...base,
    identity: observed.identity ?? base.identity,
    name: observed.name,
    type: observed.type,
    iban: observed.iban,
    loanDetails: observed.loanDetails && JSON.stringify(observed.loanDetails),
    savingsDetails: observed.savingsDetails && JSON.stringify(observed.savingsDetails),
    absentSince: null,
    absences: 0,
    deletedAt: null,
  };
  if (answer.kind === 'failed') {
    const record = { ...described, status: answer.status, statusCodeInfo: answer.info };
    const note = { ...emptyNote(record.id), anomalies: [{ kind: 'account_failed', status: answer.status }] };
    return { account: { record, isNew, changed: true, rows: { created: [], counted: [], uncounted: [] }, note }, outcome: null };
  }

  const trust = JSON.parse(base.trust) as Partial<Trust>;
  const outcome = detect({
    stored: input.rows.get(base.id) ?? [],
    batches: answer.batches,
    trust: { ...NO_TRUST, ...trust },
    balance: { current: base.balance },
    accountType: observed.type,
    breaker: base.breaker === null ? null : (JSON.parse(base.breaker) as Breaker),
    fullRefresh: input.phase === 'full',
    now: input.now,
  });
  const { created } = outcome;
  const status = accountStatus(base.status, outcome);
  const record: AccountRecord = {
    ...described,
    balance: outcome.balance,
    status,
    statusCodeInfo: defaultInfo(status),
    trust: JSON.stringify(outcome.trust),
    breaker: outcome.breaker && JSON.stringify(outcome.breaker),
    nextWindowFrom: outcome.nextWindowFrom,
    historyComplete: base.historyComplete || answer.batches.every(({ coverage }) => coverage.historyComplete),
  };
  const counted = [...outcome.updated.map(({ after }) => after), ...outcome.deleted.map(({ row }) => row)];
  const uncounted = [...outcome.held.map(({ row }) => row), ...outcome.touched];
  const changed = reappeared || created.length + counted.length > 0 || !sameRecord(base, record);
  return {
    account: { record, isNew, changed, rows: { created, counted, uncounted }, note: noteOf(record.id, answer.batches, outcome) },
    outcome,
  };
}

/** A refresh that changes nothing should write nothing: trust that only grows within its level is not worth a row. */
function sameRecord(a: AccountRecord, b: AccountRecord): boolean {
  const level = (record: AccountRecord) => trustLevel({ ...NO_TRUST, ...(JSON.parse(record.trust) as Partial<Trust>) });
  return level(a) === level(b) && JSON.stringify({ ...a, trust: '' }) === JSON.stringify({ ...b, trust: '' });
}

/** 1009 stays until a refresh explains the balance again. */
function accountStatus(before: number, outcome: Outcome): StatusCode {
  if (outcome.incomplete1009) return 1009;
  return before === 1009 && !outcome.explained ? 1009 : 0;
}

function newAccount(observed: ObservedAccount, id: number): AccountRecord {
  return {
    id,
    identity: observed.identity,
    name: observed.name,
    type: observed.type,
    currency: observed.currency,
    iban: observed.iban,
    isPro: observed.isPro,
    loanDetails: null,
    savingsDetails: null,
    balance: null,
    status: 0,
    statusCodeInfo: defaultInfo(0),
    trust: '{}',
    breaker: null,
    nextWindowFrom: null,
    historyComplete: false,
    absentSince: null,
    absences: 0,
    deletedAt: null,
  };
}

/** A record is for reading, not for rebuilding: beyond this many rows it keeps the counts alone. */
const REASONS_KEPT = 500;

function noteOf(accountId: number, batches: readonly { coverage: unknown }[], outcome: Outcome): AccountNote {
  const reasons = [
    ...outcome.updated.map(({ after, evidence }) => ({ row: after.id, change: 'updated', why: evidence.stage })),
    ...outcome.deleted.map(({ row, reason }) => ({ row: row.id, change: 'deleted', why: reason })),
    ...outcome.held.map(({ row, reason }) => ({ row: row.id, change: 'held', why: reason })),
  ];
  return {
    account_id: accountId,
    coverage: batches.map(({ coverage }) => coverage),
    ...outcome.counts,
    held: outcome.held.length,
    explained: outcome.explained,
    anomalies: outcome.anomalies,
    reasons: reasons.slice(0, REASONS_KEPT),
  };
}

function emptyNote(accountId: number): AccountNote {
  return { account_id: accountId, coverage: null, new: 0, updated: 0, deleted: 0, held: 0, explained: true, anomalies: [], reasons: [] };
}

/** Two unattended refreshes a day, each item at a minute of its own, so that a day's work is spread. */
export function nextDueInMs(itemId: number): number {
  const spread = ((itemId * 2_654_435_761) % 3_600_000) - HOUR_MS / 2;
  return 12 * HOUR_MS + spread;
}

/** Statuses after which only the user can help; asking the bank again by ourselves would lock accounts. */
const NEEDS_USER: readonly number[] = [402, 429, 1010, 1100];

export function refreshesUnattended(status: number): boolean {
  return !NEEDS_USER.includes(status);
}
