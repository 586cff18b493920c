/**
 * How runs that have ended are committed. Those that end together share one transaction and each of its statements: beside
 * the bank's own time, an unchanged refresh is little more than its share of them.
 */

import { appendAll, type Origin, takeTimestampsOf } from '../events/append.ts';
import type { EventDraft } from '../events/catalogue.ts';
import { type RefreshedItem, updateRefreshedItems } from '../items/items.ts';
import { type FinishedRefresh, finishRefreshes } from '../items/refreshes.ts';
import type { Storage, Writer } from '../storage/storage.ts';
import { createGroups, type Groups } from './groups.ts';
import { type PlanRows, writeRows } from './write.ts';

/** A run that has ended, ready to be written: nothing of it waits for anything but the database. */
export type Ending = {
  finished: FinishedRefresh;
  userUuid: string;
  /** The application's clock. */
  now: number;
  origin: Origin;
  /** Its events, in their order; `item.refreshed` is the last. */
  drafts: readonly EventDraft[];
  item: Omit<RefreshedItem, 'accountsUpdatedAt'>;
  /** Null where its accounts were not looked at; else they are as new as its last event. `rows` says about how many these are. */
  rowsAt: ((timestamps: readonly number[]) => PlanRows) | null;
  rows: number;
  /** Only accounts that had failed were asked: the others, of which nothing is written, are no newer than before. */
  onlySome: boolean;
  /** What it alone has to write, after its record and before its events; most refreshes have nothing. */
  alone: readonly ((tx: Writer) => Promise<unknown>)[];
};

/**
 * Answers false where the run was fenced off (another worker has the refresh, or it was erased), and nothing was written; null
 * where it was only worked out, and nobody is to hear of it.
 */
export type Endings = Groups<Ending, boolean | null>;

export function createEndings(storage: Pick<Storage, 'transaction'>): Endings {
  return createGroups(async (group: readonly Ending[]) => {
    const standing = await storage.transaction((tx) => writeGroup(tx, group));
    return group.map(({ finished }) => standing.has(finished.id));
  });
}

/** What its live accounts are as new as: null leaves them as new as they were. */
export function accountsUpdatedAt({ rowsAt, onlySome }: Pick<Ending, 'rowsAt' | 'onlySome'>, timestamps: readonly number[]): number | null {
  return rowsAt === null || onlySome ? null : timestamps.at(-1)!;
}

/** Records, users, rows, items, and the events last: the order in which all transactions take these locks. Answers whose claims stood. */
async function writeGroup(tx: Writer, group: readonly Ending[]): Promise<ReadonlySet<string>> {
  const [standing, taken] = await Promise.all([
    finishRefreshes(
      tx,
      group.map(({ finished }) => finished),
    ),
    takeTimestampsOf(
      tx,
      group.map(({ userUuid, now, drafts }) => ({ userUuid, now, count: drafts.length })),
    ),
  ]);
  const stood = group.flatMap((ending, at) => (standing.has(ending.finished.id) ? [{ ...ending, timestamps: taken[at]! }] : []));
  if (stood.length === 0) return standing;
  const alone = stood.flatMap((ending) => ending.alone);
  const rows = Promise.all([
    writeRows(
      tx,
      stood.flatMap(({ rowsAt, timestamps }) => rowsAt?.(timestamps) ?? []),
    ),
    ...alone.map((write) => write(tx)),
    updateRefreshedItems(
      tx,
      stood.map(({ item, rowsAt, onlySome, timestamps }) => ({
        ...item,
        accountsUpdatedAt: accountsUpdatedAt({ rowsAt, onlySome }, timestamps),
      })),
    ),
  ]);
  // Several statements one after another, of which the last would come behind the events; all others have been given in their order.
  if (alone.length > 0) await rows;
  const appended = appendAll(
    tx,
    stood.map(({ origin, drafts, timestamps }) => ({
      origin,
      events: drafts.map((draft, index) => ({ draft, timestamp: timestamps[index]! })),
    })),
  );
  await Promise.all([rows, appended]);
  return standing;
}
