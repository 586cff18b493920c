/**
 * Erasure, its further steps: goes through the lanes of erased items in bounded looks, makes tombstones of their events,
 * takes what still waits to be sent, empties their attempts, and tells the bank's connector. Each step is written with
 * its place, so that another node, or the next start, goes on from there; each may run twice without harm.
 */
import { type Clock, MINUTE_MS, SECOND_MS } from '../base/clock.ts';
import { type Loop, startLoop } from '../base/loop.ts';
import type { Connector } from '../connectors/connector.ts';
import { eraseEvents, erasuresUnderWay, findEventsOf, findTombstones, raiseErasures, type Tombstone } from '../events/erase.ts';
import { sql, sqlList } from '../storage/sql.ts';
import type { Storage, Writer } from '../storage/storage.ts';
import type { Log } from '../telemetry/log.ts';
import { added, type Counts, type ItemWork } from './erasure.ts';

/** Places of a lane looked at in one step: some 10 ms, so that nothing waits behind it. */
const SPAN = 5_000;
/** Whoever works at an erasure has it for this long after each step; a node that dies leaves it to another. */
const CLAIM_MS = 2 * MINUTE_MS;
const IDLE_PAUSE_MS = 15 * SECOND_MS;
/** Where no erasure runs the heartbeat tells of the first one; this is for a heartbeat that does not come. */
const QUIET_PAUSE_MS = MINUTE_MS;
/** Longer than until every node has dropped what it had in hand, and then an attempt under way (30 s), and its writing. */
const SECOND_LOOK_AFTER_MS = MINUTE_MS;
const BANK_LIMIT_MS = 30 * SECOND_MS;
/** A bank that cannot be told by then is left: its item is gone here, and the operator finds it in the log. */
const BANK_PATIENCE_MS = 24 * 60 * MINUTE_MS;
const BANK_RETRY_MS = 5 * MINUTE_MS;

export type ScrubServices = {
  storage: Storage;
  clock: Clock;
  log: Log;
  connector: (bankId: number) => Connector | null;
  /** What waits of these items is not to be sent any more. */
  onErased: (itemIds: ReadonlySet<number>) => void;
};
type Claimed = { id: string; work: string; counts: string; requested_at: number };

/** When the first erasure that runs can be worked at; null while none runs. */
export const nextErasure = sql`select min(claimed_until) from erasures where state = 'running'`;

export type Scrubbing = Loop & {
  /** Somebody has asked for {@link nextErasure}. */
  tell(nextErasureAt: number | null): void;
};

export function startScrubbing(services: ScrubServices): Scrubbing {
  let quiet = false;
  const loop = startLoop({
    onError: (error) => services.log.error({ error }, 'erasure'),
    errorPauseMs: IDLE_PAUSE_MS,
    step: async () => {
      const found = await scrubOnce(services);
      quiet = found === 'none runs';
      return { pauseMs: found === 'worked' ? 0 : quiet ? QUIET_PAUSE_MS : IDLE_PAUSE_MS };
    },
  });
  return {
    ...loop,
    tell(nextErasureAt) {
      if (nextErasureAt !== null && (quiet || nextErasureAt <= services.clock.now())) loop.wake();
    },
  };
}

/** Runs every erasure that can go on to its end. */
export async function scrubAll(services: ScrubServices): Promise<void> {
  while ((await scrubOnce(services)) === 'worked');
}

/** One step of the oldest erasure that nobody works at. `nothing to do`: those that run are others' for now. */
export async function scrubOnce(services: ScrubServices): Promise<'worked' | 'nothing to do' | 'none runs'> {
  const { storage, clock } = services;
  const now = clock.now();
  if ((await forgetErased(services)) === 0) return 'none runs';
  const claimed = await storage.transaction((tx) =>
    tx.first<Claimed>(
      sql`update erasures set claimed_until = ${now + CLAIM_MS}
          where id = (select id from erasures where state = 'running' and claimed_until <= ${now} order by requested_at limit 1${storage.forUpdateSkipLocked})
          returning id, work, counts, requested_at`,
    ),
  );
  if (!claimed) return 'nothing to do';
  await goOn(services, claimed, now);
  return 'worked';
}

async function goOn(services: ScrubServices, claimed: Claimed, now: number): Promise<void> {
  const { storage, clock, log } = services;
  const work = JSON.parse(claimed.work) as ItemWork[];
  const counts = JSON.parse(claimed.counts) as Counts;
  const unread = work.find((item) => item.position < item.through);
  if (unread) {
    await scrubSpan(services, claimed.id, work, unread, counts);
    return;
  }
  if (work.some(({ look, through }) => look === 'first' && through > 0)) {
    const again = work.map((item): ItemWork => ({ ...item, position: 0, look: 'second' }));
    await storage.transaction((tx) =>
      tx.run(
        sql`update erasures set work = ${JSON.stringify(again)}, claimed_until = ${claimed.requested_at + SECOND_LOOK_AFTER_MS} where id = ${claimed.id}`,
      ),
    );
    return;
  }
  for (const item of work.filter(({ bankTold }) => !bankTold)) {
    if (await tellBank(services, item)) item.bankTold = true;
  }
  const untold = work.filter(({ bankTold }) => !bankTold);
  if (untold.length > 0 && now - claimed.requested_at < BANK_PATIENCE_MS) {
    await storage.transaction((tx) =>
      tx.run(sql`update erasures set work = ${JSON.stringify(work)}, claimed_until = ${now + BANK_RETRY_MS} where id = ${claimed.id}`),
    );
    return;
  }
  if (untold.length > 0)
    log.warn({ erasure: claimed.id, banks: untold.map(({ bankId }) => bankId) }, 'a bank could not be told of an erasure');
  const finishedAt = clock.now();
  await storage.transaction(async (tx) => {
    await forgetReplays(tx, new Set(work.map(({ itemId }) => itemId)));
    await tx.run(
      sql`update erasures set state = 'done', work = null, finished_at = ${finishedAt} where id = ${claimed.id} and state = 'running'`,
    );
    await raiseErasures(tx);
  });
  log.info({ erasure: claimed.id, ...counts, ms: finishedAt - claimed.requested_at }, 'erased');
}

/** Each node has deliveries in hand that it must drop: this one now, and the others by their heartbeats. Answers how many erasures run. */
async function forgetErased({ storage, onErased }: ScrubServices): Promise<number> {
  const running = await erasuresUnderWay(storage);
  const itemIds = new Set(running.flat());
  if (itemIds.size > 0) onErased(itemIds);
  return running.length;
}

/** One look at the lane of an item, and what is found there, in one transaction with the new place. */
async function scrubSpan({ storage }: ScrubServices, id: string, work: ItemWork[], item: ItemWork, counts: Counts): Promise<void> {
  const first = item.look === 'first';
  const find = first ? findEventsOf : findTombstones;
  const places = await find(storage, item, item.position, SPAN);
  await storage.transaction(async (tx) => {
    const events = first && places.length > 0 ? await eraseEvents(tx, item.lane, places) : 0;
    const attempts = places.length === 0 ? 0 : await emptyDeliveries(tx, item.lane, places);
    const next = work.map((one) => (one === item ? { ...one, position: Math.min(one.position + SPAN, one.through) } : one));
    const sum = added(counts, { items: 0, accounts: 0, transactions: 0, refreshes: 0, events, attempts });
    // Its claim goes with the step: the next one may be anybody's.
    await tx.run(
      sql`update erasures set work = ${JSON.stringify(next)}, counts = ${JSON.stringify(sum)}, claimed_until = 0 where id = ${id} and state = 'running'`,
    );
  });
}

/** What waits is not sent any more. Of an attempt stay its time and its outcome, which tell of the receiver and of nobody else. */
async function emptyDeliveries(tx: Writer, lane: number, places: readonly Tombstone[]): Promise<number> {
  await tx.run(sql`delete from parked where lane = ${lane} and seq in ${sqlList(places.map(({ seq }) => seq))}`);
  let emptied = 0;
  for (const [segment, group] of Map.groupBy(places, (place) => place.segment)) {
    emptied += await tx.run(
      sql`update attempts set item_id = null, message = null, snippet = null
          where segment = ${segment} and lane = ${lane} and seq in ${sqlList(group.map(({ seq }) => seq))}
            and (item_id is not null or message is not null or snippet is not null)`,
    );
  }
  return emptied;
}

/** Replays may name items in their filters. */
async function forgetReplays(tx: Writer, itemIds: ReadonlySet<number>): Promise<void> {
  const replays = await tx.all<{ id: string; filter: string }>(sql`select id, filter from replays where filter like '%item%'`);
  for (const { id, filter } of replays) {
    const kept = JSON.stringify(JSON.parse(filter), (_, value: unknown) =>
      Array.isArray(value) ? value.filter((entry) => typeof entry !== 'number' || !itemIds.has(entry)) : value,
    );
    if (kept !== filter) await tx.run(sql`update replays set filter = ${kept} where id = ${id}`);
  }
}

/** True when there is nothing (more) to tell. */
async function tellBank({ connector, log }: ScrubServices, { itemId, bankId }: ItemWork): Promise<boolean> {
  const bank = connector(bankId);
  if (!bank?.forget) return true;
  try {
    await bank.forget({ itemId }, AbortSignal.timeout(BANK_LIMIT_MS));
    return true;
  } catch (error) {
    log.error({ bank: bankId, error }, 'the bank could not be told of an erasure; it is told again');
    return false;
  }
}
