/**
 * What was worked out becomes true: one transaction moves the clock and writes the refreshes of many moments, if nothing else
 * has happened to what they began with. Locks are taken in the order of all endings, but that the items come first, as for every
 * mover: who holds a user and wants an item meanwhile meets it crosswise, and one of the two runs again.
 */
import { isDeepStrictEqual } from 'node:util';
import { writeAccounts } from '../../accounts/accounts.ts';
import { appendAll, useTimestamps } from '../../events/append.ts';
import { type RefreshedItem, updateRefreshedItems } from '../../items/items.ts';
import { insertFinished, type Refresh } from '../../items/refreshes.ts';
import { sql, sqlList } from '../../storage/sql.ts';
import type { Writer } from '../../storage/storage.ts';
import { writeChanges } from '../../transactions/changes.ts';
import { writeTransactions } from '../../transactions/transactions.ts';
import { readBeginnings } from '../beginning.ts';
import type { RefreshServices } from '../services.ts';
import type { Memory, WorkedOut } from './memory.ts';
import { type Mover, moveWithin } from './move.ts';

/** Something else has happened on the way: nothing is written. */
export class Overtaken extends Error {}

export type Stretch = {
  /** How far the clock was, and how far it goes. */
  offsetMs: number;
  byMs: number;
  refreshes: readonly (WorkedOut & { refresh: Refresh })[];
};

export async function writeAhead(services: RefreshServices, mover: Mover, memory: Memory, stretch: Stretch): Promise<void> {
  await services.storage.transaction(async (tx) => {
    await Promise.all([moveWithin(tx, services, mover, stretch.byMs), mustStand(tx, mover, memory, stretch)]);
    await write(tx, memory, stretch);
  });
}

/** Asked behind the move, which holds the application and all of its items; open refreshes first, since whoever ends one changes the rest. */
async function mustStand(tx: Writer, { applicationId }: Mover, memory: Memory, { offsetMs, byMs, refreshes }: Stretch): Promise<void> {
  const ids = [...memory.items.keys()];
  const movedMs = offsetMs + byMs;
  const [beside, beginnings, due] = await Promise.all([
    tx.first<{ open: number; others_due_at: number | null }>(sql`
      select (select count(*) from refreshes where application_id = ${applicationId} and finished_at is null) as open,
        (select min(due_at) from items where application_id = ${applicationId} and id not in ${sqlList(ids)}) as others_due_at`),
    readBeginnings(tx, ids),
    tx.all<{ id: number; due_at: number | null }>(sql`select id, due_at from items where id in ${sqlList(ids)}`),
  ]);
  const dueAt = new Map(due.map(({ id, due_at }) => [id, due_at === null ? null : due_at + movedMs]));
  for (const [id, { written }] of memory.items) {
    const stored = beginnings.get(id);
    // The clock is where this transaction has moved it.
    const stands = stored && isDeepStrictEqual({ ...stored, clockOffsetMs: 0 }, { ...written.beginning, clockOffsetMs: 0 });
    if (!stands || dueAt.get(id) !== written.dueAt) throw new Overtaken(`item ${id} is not what it was`);
  }
  if (beside!.open > 0) throw new Overtaken('a refresh was asked for');
  const lastAt = Math.max(...refreshes.map(({ refresh }) => refresh.startedAt));
  if (beside!.others_due_at !== null && beside!.others_due_at + movedMs < lastAt) throw new Overtaken('another item has fallen due');
}

async function write(tx: Writer, memory: Memory, { refreshes }: Stretch): Promise<void> {
  const used = memory.usedTimestamps();
  const plans = refreshes.flatMap(({ rows }) => rows ?? []);
  const accounts = plans.flatMap((plan) => plan.accounts);
  const transactions = plans.flatMap((plan) => plan.transactions);
  const [, taken] = await Promise.all([
    insertFinished(
      tx,
      refreshes.map(({ refresh, ending: { finished, origin } }) => ({ refresh, finished, endedAt: origin.committedAt })),
    ),
    useTimestamps(tx, used),
    ...inWaves(accounts, ({ account }) => account.id).map((wave) => writeAccounts(tx, wave)),
    ...inWaves(transactions, ({ record }) => record.id).map((wave) => writeTransactions(tx, wave)),
    writeChanges(
      tx,
      plans.flatMap(({ changes }) => changes),
    ),
    updateRefreshedItems(tx, lastOfEach(refreshes, memory)),
    appendAll(
      tx,
      refreshes.map(({ ending: { origin, drafts }, timestamps }) => ({
        origin,
        events: drafts.map((draft, index) => ({ draft, timestamp: timestamps[index]! })),
      })),
    ),
  ]);
  if (taken !== used.length) throw new Overtaken('a user has had other events');
}

/** A statement may write a row once: in the first wave each row is as its first refresh leaves it, in the next as its second does. */
function inWaves<T>(rows: readonly T[], idOf: (row: T) => number): T[][] {
  const waves: T[][] = [];
  const times = new Map<number, number>();
  for (const row of rows) {
    const wave = times.get(idOf(row)) ?? 0;
    times.set(idOf(row), wave + 1);
    if (wave === waves.length) waves.push([row]);
    else waves[wave]!.push(row);
  }
  return waves;
}

/** One row for each item: what its last refresh leaves, and how many there were. */
function lastOfEach(refreshes: readonly WorkedOut[], memory: Memory): RefreshedItem[] {
  return [...Map.groupBy(refreshes, ({ item }) => item.id)].map(([id, ofItem]) => {
    const { item, accountsUpdatedAt } = memory.items.get(id)!.is.beginning;
    return {
      ...ofItem.at(-1)!.item,
      connected: ofItem.some(({ item: { connected } }) => connected),
      historyComplete: item.historyComplete,
      fullRefreshWanted: item.fullRefreshWanted,
      keepsFullWish: false,
      refreshes: ofItem.reduce((sum, one) => sum + one.item.refreshes, 0),
      accountsUpdatedAt,
    };
  });
}
