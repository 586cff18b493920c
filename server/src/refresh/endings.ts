/**
 * How runs that have ended are committed. Those that end together share one transaction and each of its statements: beside
 * the bank's own time, an unchanged refresh is little more than its share of them.
 */
import type { EventDraft } from '../events/catalogue.ts';
import { appendAll, type Origin, takeTimestampsOf } from '../events/log.ts';
import { type RefreshedItem, updateRefreshedItems } from '../items/items.ts';
import { type FinishedRefresh, finishRefreshes } from '../items/refreshes.ts';
import type { Storage, Writer } from '../storage/storage.ts';

/** In one transaction: more would hold more lanes' heads for longer, and the statements of so many already cost each of them little. */
const GROUP_MAX = 32;
/** Rows of accounts, transactions and changes in one transaction, unless one refresh has more: SQLite writes so many in some 20 ms. */
const GROUP_ROWS_MAX = 1_000;
/** One writes while the next is sent: PostgreSQL would else wait for us, and we for it. */
const GROUPS_AT_ONCE = 2;

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
  /** Whether its accounts were looked at: then they are as new as its last event. */
  accountsRefreshed: boolean;
  /** What it alone has to write, after its record and before its events; `rows` says about how much that is. */
  write: (tx: Writer, timestamps: readonly number[]) => Promise<void>;
  rows: number;
};

export type Endings = {
  /** Resolves after the commit: false where the run was fenced off (another worker has the refresh, or it was erased), and nothing was written. */
  commit(ending: Ending): Promise<boolean>;
};

type Waiting = { ending: Ending; resolve: (committed: boolean) => void; reject: (error: unknown) => void };

export function createEndings(storage: Pick<Storage, 'transaction'>): Endings {
  let waiting: Waiting[] = [];
  let committing = 0;
  let gathering = false;

  const start = () => {
    gathering = false;
    while (committing < GROUPS_AT_ONCE && waiting.length > 0) {
      const { group, rest } = takeGroup(waiting);
      waiting = rest;
      committing += 1;
      void commitGroup(storage, group).finally(() => {
        committing -= 1;
        gather();
      });
    }
  };
  /** Whatever ends in this turn of the event loop, or while others are committed, is committed together. */
  const gather = () => {
    if (gathering || waiting.length === 0 || committing === GROUPS_AT_ONCE) return;
    gathering = true;
    setImmediate(start);
  };

  return {
    commit: (ending) =>
      new Promise((resolve, reject) => {
        waiting.push({ ending, resolve, reject });
        gather();
      }),
  };
}

/** The first that fit; one of each user, because the timestamps of a user follow one another. */
function takeGroup(waiting: readonly Waiting[]): { group: Waiting[]; rest: Waiting[] } {
  const group: Waiting[] = [];
  const rest: Waiting[] = [];
  const users = new Set<string>();
  let rows = 0;
  for (const one of waiting) {
    const { userUuid, rows: more } = one.ending;
    const fits = group.length === 0 || (group.length < GROUP_MAX && rows + more <= GROUP_ROWS_MAX && !users.has(userUuid));
    (fits ? group : rest).push(one);
    if (!fits) continue;
    users.add(userUuid);
    rows += more;
  }
  return { group, rest };
}

/** A group that fails is committed one by one, so that what fails is the one at fault alone. */
async function commitGroup(storage: Pick<Storage, 'transaction'>, group: readonly Waiting[]): Promise<void> {
  try {
    const committed = await storage.transaction((tx) =>
      writeGroup(
        tx,
        group.map(({ ending }) => ending),
      ),
    );
    for (const { ending, resolve } of group) resolve(committed.has(ending.finished.id));
  } catch (error) {
    if (group.length === 1) group[0]!.reject(error);
    else for (const one of group) await commitGroup(storage, [one]);
  }
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
  await Promise.all([
    ...stood.map(({ write, timestamps }) => write(tx, timestamps)),
    updateRefreshedItems(
      tx,
      stood.map(({ item, accountsRefreshed, timestamps }) => ({
        ...item,
        accountsUpdatedAt: accountsRefreshed ? timestamps.at(-1)! : null,
      })),
    ),
  ]);
  await appendAll(
    tx,
    stood.map(({ origin, drafts, timestamps }) => ({
      origin,
      events: drafts.map((draft, index) => ({ draft, timestamp: timestamps[index]! })),
    })),
  );
  return standing;
}
