/**
 * From a bank's answer to what will be written: rows, accounts, the item and the events, in their order. Pure: ids of new
 * rows (negative placeholders here) and timestamps are given when the plan is committed; rows know which event reports them.
 */
import type { PendingTransition } from '../access/applications.ts';
import type { AccountRecord } from '../accounts/accounts.ts';
import type { Money } from '../base/money.ts';
import type { CalendarDate, ObservedAccount, StatusCode } from '../connectors/connector.ts';
import { defaultInfo, worstOf } from '../connectors/statuses.ts';
import type { EventDraft } from '../events/catalogue.ts';
import type { Item } from '../items/items.ts';
import type { TransactionRecord } from '../transactions/transactions.ts';
import type { BankAnswer, FetchedAccount } from './bank.ts';
import { type AccountOutcome, matchAccounts } from './detection/accounts.ts';
import type { Created, Outcome } from './detection/types.ts';
import { newAccount, planAccount, unanswered } from './plan-account.ts';
import { type AccountNote, noteOfAbsent, noteOfSpared } from './record.ts';
import type { Settled } from './same-answer.ts';
import type { SparedFor } from './schedule/decide.ts';

/** Changes of one account, and the index (in `drafts`) of the event whose timestamp its rows carry; null without an event. */
export type PlannedAccount = {
  record: AccountRecord;
  isNew: boolean;
  changed: boolean;
  rows: { created: readonly Created[]; counted: readonly TransactionRecord[]; uncounted: readonly TransactionRecord[] };
  /** What was found; null where nothing was compared (the account failed, or is not listed). */
  outcome: Outcome | null;
  event: number | null;
  note: AccountNote;
};

export type Plan = {
  accounts: readonly PlannedAccount[];
  drafts: readonly EventDraft[];
  anomaly: AccountOutcome['anomaly'];
  status: StatusCode;
  statusCodeInfo: string | null;
  fullRefresh: boolean;
  fullRefreshWanted: boolean;
  refreshed: number;
  total: number;
};

export type PlanInput = {
  item: Pick<Item, 'id' | 'userUuid' | 'createdAt'>;
  refreshId: string;
  answer: Extract<BankAnswer, { kind: 'answered' }>;
  stored: readonly AccountRecord[];
  rows: ReadonlyMap<number, readonly TransactionRecord[]>;
  /** From which date the stored rows of an account were read; null for all. */
  since: ReadonlyMap<number, CalendarDate | null>;
  /** Accounts whose answer is the same as one that was compared: their rows were not read. */
  settled: ReadonlyMap<number, Settled>;
  phase: 'recent' | 'full' | 'incremental';
  pendingTransition: PendingTransition;
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

  const observe = (
    fetched: FetchedAccount,
    before: AccountRecord | null,
    matched: { rule: AccountNote['matched_by']; reappeared: boolean },
  ) => {
    if (fetched.answer.kind === 'spared') {
      historyComplete = false;
      // One that is new, or comes back, is told of when it is fetched.
      if (before && !matched.reappeared) accounts.push(spared(input, before, matched.rule, fetched.asked, fetched.answer.because));
      return;
    }
    const base = before ?? newAccount(fetched.account, unusedIds.shift()!);
    const planned = planAccount(input, fetched, { base, isNew: before === null, ...matched });
    accounts.push(planned);
    const { record, outcome } = planned;
    if (fetched.answer.kind === 'fetched') refreshed += 1;
    historyComplete &&=
      fetched.answer.kind === 'fetched' &&
      fetched.asked.phase !== 'incremental' &&
      fetched.answer.batches.every(({ coverage }) => coverage.historyComplete);
    fullRefreshWanted ||= outcome?.fullRefreshWanted ?? false;
    const balance: Money | null = record.balance?.amount ?? null;
    if (!before) live.created.push({ type: 'item.account.created', ...owner, accountId: record.id, balance });
    const counts = outcome?.counts ?? { new: 0, updated: 0, deleted: 0 };
    const counted = counts.new + counts.updated + counts.deleted > 0;
    if (counted || matched.reappeared || (before !== null && (outcome?.balanceChanged ?? false))) {
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

  for (const { stored, observed, rule, reappeared } of decisions.matched)
    observe(fetchedByAccount.get(observed)!, storedById.get(stored.id)!, { rule, reappeared });
  for (const observed of decisions.created) observe(fetchedByAccount.get(observed)!, null, { rule: 'new', reappeared: false });
  for (const missing of decisions.missing) {
    const before = storedById.get(missing.stored.id)!;
    const record = {
      ...unanswered(input, before),
      absentSince: missing.absentSince,
      absences: missing.absences,
      deletedAt: missing.deleted ? input.now : before.deletedAt,
    };
    const note = noteOfAbsent(record.id, { lists: missing.absences, since: missing.absentSince, deleted: missing.deleted });
    accounts.push({ record, isNew: false, changed: true, rows: { created: [], counted: [], uncounted: [] }, outcome: null, note });
    if (missing.deleted && before.deletedAt === null) live.deleted.push({ type: 'item.account.deleted', ...owner, accountId: record.id });
  }

  const listed = accounts.filter(({ record }) => record.deletedAt === null);
  const { status, info: statusCodeInfo } = decisions.anomaly
    ? { status: 1003 as const, info: defaultInfo(1003) }
    : worstOf(listed.map(({ record }) => ({ status: record.status as StatusCode, info: record.statusCodeInfo })));
  const fullRefresh = historyComplete && status === 0;
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
    anomaly: decisions.anomaly,
    status,
    statusCodeInfo,
    fullRefresh,
    fullRefreshWanted: fullRefreshWanted || decisions.anomaly !== null,
    refreshed,
    total,
  };
}

/** It was not asked: it is as it was, but listed. */
function spared(
  input: PlanInput,
  before: AccountRecord,
  rule: AccountNote['matched_by'],
  asked: FetchedAccount['asked'],
  because: SparedFor,
): Omit<PlannedAccount, 'event'> {
  const record = { ...unanswered(input, before), absentSince: null, absences: 0 };
  const note = noteOfSpared(record.id, rule, asked, because);
  const changed = before.absences > 0 || record.nextWindowFrom !== before.nextWindowFrom;
  return { record, isNew: false, changed, rows: { created: [], counted: [], uncounted: [] }, outcome: null, note };
}

function eventIndex(drafts: readonly EventDraft[], draft: EventDraft | undefined): number | null {
  return draft ? drafts.indexOf(draft) : null;
}
