/**
 * Ours: each refresh as the server runs it, from the question to the bank to the rows, their reasons and the events, with the
 * same code; only the tables are maps. What an account was asked, how far its window reaches, what is owed and what was settled
 * before are therefore part of what the simulation proves.
 */
import type { AccountRecord } from '../src/accounts/accounts.ts';
import type { Connector } from '../src/connectors/connector.ts';
import { nextPhase, type RefreshPhase } from '../src/items/refreshes.ts';
import { askBank } from '../src/refresh/bank.ts';
import { comparedRows, wantsFullRefresh } from '../src/refresh/commit.ts';
import { dayNumber } from '../src/refresh/detection/normalise.ts';
import type { Breaker, StoredTransaction } from '../src/refresh/detection/types.ts';
import { identifyAccounts, type Plan, planRefresh } from '../src/refresh/plan.ts';
import { fetchFrom } from '../src/refresh/run.ts';
import { TOMBSTONES_MS } from '../src/refresh/same-answer.ts';
import { type PlanRows, rowsOfPlan } from '../src/refresh/write.ts';
import type { VisibleRow } from './algorithms.ts';

export type Asking = {
  readonly now: number;
  /** The second half of a first connection, which asks for everything whatever came before. */
  readonly completes?: boolean;
  /** Everything is wanted: once a week, and where it is looked at closely. */
  readonly full?: boolean;
  /** The account's quota is spent: the bank is not asked for it. */
  readonly spared?: boolean;
};

export type Ours = {
  readonly refresh: (bank: Connector, asking: Asking) => Promise<void>;
  readonly visible: () => Iterable<VisibleRow>;
  /** Whether the counts of all events add up to the rows that are visible now, and each counted row carries its event's moment and has its reason. */
  readonly countsHold: () => boolean;
  readonly lastDeleted: () => readonly VisibleRow[];
  /** Rows that stay because too many would be deleted at once. */
  readonly heldByBreaker: () => readonly VisibleRow[];
};

const OWNER = { itemId: 1, userUuid: 'somebody', bankId: 1, touchedAt: 0 };

/** `createdAt`: when the item is connected. */
export function ours(createdAt: number): Ours {
  const accounts = new Map<number, AccountRecord>();
  const rows = new Map<number, StoredTransaction>();
  const item = { id: OWNER.itemId, userUuid: OWNER.userUuid, createdAt, connectedOnce: false, fullRefreshWanted: false };
  let lastPlan: Plan | null = null;
  let countsHold = true;
  let lastId = 0;
  let lastTimestamp = 0;
  let refreshes = 0;
  let live = 0;
  const nextIds = (count: number) => Array.from({ length: count }, () => (lastId += 1));

  /** What `rowsToCompare` reads from the tables. */
  const read = (since: string | null, now: number) =>
    [...rows.values()].filter(
      ({ date, status, missing, deletedAt }) =>
        (since === null || date >= since || status !== 'booked' || missing > 0) && (deletedAt === null || deletedAt > now - TOMBSTONES_MS),
    );

  const plan = (answer: Parameters<typeof comparedRows>[1], phase: RefreshPhase, now: number): Plan => {
    const stored = [...accounts.values()];
    const decisions = identifyAccounts(stored, answer, now);
    const compared = comparedRows({ accounts: stored, phase, ofFiles: false, now }, answer, decisions);
    const { since, settled } = compared;
    const input = {
      ...{ item, refreshId: `refresh ${refreshes}`, answer, stored, phase, now },
      ...{
        since,
        settled,
        rows: new Map(compared.read.map((one) => [one.id, read(one.since, now)])),
        pendingTransition: 'update' as const,
      },
    };
    return planRefresh(input, decisions, nextIds(decisions.created.length));
  };

  const write = (written: PlanRows) => {
    for (const { account } of written.accounts) accounts.set(account.id, account);
    for (const { record } of written.transactions) rows.set(record.id, record);
  };

  /** As the events say it, against what is written. */
  const addsUp = ({ accounts: planned, drafts }: Plan, written: PlanRows, timestamps: readonly number[]): boolean => {
    let counted = 0;
    for (const [at, draft] of drafts.entries()) {
      if (draft.type !== 'item.account.updated') continue;
      const count = draft.created + draft.updated + draft.deleted;
      counted += count;
      if (written.transactions.filter(({ updatedAt }) => updatedAt === timestamps[at]).length !== count) return false;
      const returned = written.changes.filter(({ change }) => change.accountId === draft.accountId && change.kind === 'resurrected').length;
      live += draft.created + returned - draft.deleted;
    }
    let visible = 0;
    for (const { deletedAt } of rows.values()) visible += Number(deletedAt === null);
    const uncounted = planned.flatMap(({ rows: { uncounted: left } }) => left).length;
    return live === visible && written.changes.length === counted && written.transactions.length === counted + uncounted;
  };

  return {
    async refresh(bank, { now, completes = false, full = false, spared = false }) {
      refreshes += 1;
      if (full && item.connectedOnce) item.fullRefreshWanted = true;
      const phase = completes ? 'full' : nextPhase(item);
      lastPlan = null;
      const answer = await askBank({
        connector: bank,
        authentication: {
          ...{ itemId: OWNER.itemId, credentials: {}, attended: false, answer: null, refreshIndex: refreshes, connectedAt: 0 },
          ...{ kept: null, now, challengedAt: null },
        },
        phase,
        from: fetchFrom(phase, [...accounts.values()], now),
        onProgress: async () => {},
        onCrash: (error) => {
          throw error;
        },
        onCall: () => {},
        onLogin: () => {},
        onFetch: () => {},
        onLoggedIn: () => {},
        sparedFor: () => (spared ? 'quota' : null),
        signal: new AbortController().signal,
      });
      if (answer.kind !== 'answered') return;
      const planned = plan(answer, phase, now);
      const born = planned.accounts.reduce((count, { rows: { created } }) => count + created.length, 0);
      const timestamps = planned.drafts.map(() => {
        lastTimestamp = Math.max(now, lastTimestamp + 1);
        return lastTimestamp;
      });
      const written = rowsOfPlan(OWNER, `refresh ${refreshes}`, planned, nextIds(born), timestamps);
      write(written);
      item.connectedOnce ||= planned.refreshed > 0;
      item.fullRefreshWanted = wantsFullRefresh(planned, phase, item.fullRefreshWanted);
      countsHold = addsUp(planned, written, timestamps);
      lastPlan = planned;
    },
    *visible() {
      for (const row of rows.values()) if (row.deletedAt === null) yield visibleRow(row);
    },
    countsHold: () => countsHold,
    lastDeleted: () => (lastPlan?.accounts ?? []).flatMap(({ outcome }) => outcome?.deleted.map(({ before }) => visibleRow(before)) ?? []),
    heldByBreaker: () =>
      [...accounts.values()].flatMap(({ breaker }) =>
        breaker === null
          ? []
          : (JSON.parse(breaker) as Breaker).rows.flatMap(({ id }) => (rows.has(id) ? [visibleRow(rows.get(id)!)] : [])),
      ),
  };
}

/** Rows that stand as they stood are the same to look at. */
const shown = new WeakMap<StoredTransaction, VisibleRow>();

function visibleRow(stored: StoredTransaction): VisibleRow {
  let row = shown.get(stored);
  if (row === undefined) {
    const { status, date, amount, rawText } = stored;
    row = { status, day: dayNumber(date), minor: amount.minor, label: rawText };
    shown.set(stored, row);
  }
  return row;
}
