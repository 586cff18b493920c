/**
 * What is not to be sent any more although it was read: events of items that are being erased, and of segments that
 * retention has given up. Whichever node did that, each one learns of it by its own heartbeat.
 */
import { itemsBeingErased } from '../../events/erase.ts';
import type { LoggedEvent } from '../../events/log.ts';
import { readSegments } from '../../events/segments.ts';
import type { Storage } from '../../storage/storage.ts';
import type { Result } from '../job.ts';
import type { Lane } from '../lanes/lane.ts';
import type { Replays } from '../replay/engine.ts';
import type { Recorder } from '../settling/recorder.ts';
import type { Book } from './book.ts';
import type { Channels } from './channels.ts';

/** As a heartbeat tells it: see {@link Withdrawn.follow}. */
export type Taken = {
  /** Moves when an erasure begins and when it ends. */
  erasures: number | null;
  /** The first one that retention is not taking away. */
  oldestSegment: number | null;
};

export type Withdrawn = {
  /** Asked before each start. */
  has(event: LoggedEvent): boolean;
  /** What is left to write of a result: nothing of it is tried again, and what has expired has no attempts any more. */
  settle(result: Result): Result;
  /** Learns what was taken since, and lets go of it. */
  follow(taken: Taken): Promise<void>;
  /** These items are being erased: known here before a heartbeat tells. */
  forgetItems(itemIds: ReadonlySet<number>): void;
};

export function createWithdrawn(options: {
  storage: Storage;
  lanes: ReadonlyMap<number, Lane>;
  channels: Channels;
  book: Book;
  recorder: Recorder;
  replays: Replays;
}): Withdrawn {
  const { storage, lanes, channels, book, recorder, replays } = options;
  let erasures = -1;
  let erasing: ReadonlySet<number> = new Set();
  let oldestSegment = 0;

  const isErased = ({ itemId }: LoggedEvent) => erasing.size > 0 && itemId !== null && erasing.has(itemId);
  const isExpired = ({ segment }: LoggedEvent) => segment < oldestSegment;
  const has = (event: LoggedEvent) => isErased(event) || isExpired(event);

  function forgetItems(itemIds: ReadonlySet<number>) {
    erasing = new Set([...erasing, ...itemIds]);
    replays.forgetItems(itemIds);
    for (const { endpoint, sendings, queue } of channels.all()) {
      for (const [job, sending] of [...sendings]) if (isErased(job.event)) sending.withhold();
      for (const job of queue.take(({ event }) => isErased(event))) recorder.drop(job, endpoint.id);
    }
    book.forgetItems(itemIds);
    for (const channel of channels.all()) recorder.count(channel);
  }

  /** Parked rows up to these seqs, by lane, are gone from the database: nothing waits behind them. */
  function forgetThrough(starts: readonly number[]) {
    for (const channel of channels.all()) {
      const { id } = channel.endpoint;
      for (const job of channel.queue.take(({ event }) => isExpired(event))) recorder.drop(job, id);
      for (const lane of lanes.values()) {
        const rows = book.upTo(lane.number, id, starts[lane.number] ?? 0).filter(({ seq }) => !channel.claims.has(`${lane.number}/${seq}`));
        for (const row of rows) book.remove(row);
        for (const itemId of new Set(rows.map((row) => row.itemId))) if (itemId !== null) recorder.releaseHead(lane, id, itemId);
      }
      recorder.count(channel);
    }
  }

  return {
    has,
    settle(result) {
      const { event } = result.job;
      return has(event) ? { ...result, park: null, outcome: isExpired(event) ? null : result.outcome } : result;
    },
    async follow(taken) {
      if (taken.erasures !== null && taken.erasures !== erasures) {
        const running = await itemsBeingErased(storage);
        // Also those whose erasure has ended: what was read of them before they became tombstones may have waited since.
        forgetItems(new Set([...erasing, ...running]));
        erasing = running;
        erasures = taken.erasures;
      }
      if (taken.oldestSegment !== null && taken.oldestSegment > oldestSegment) {
        const oldest = taken.oldestSegment;
        const kept = (await readSegments(storage)).find(({ segment }) => segment >= oldest);
        oldestSegment = oldest;
        if (kept) forgetThrough(kept.starts);
      }
    },
    forgetItems,
  };
}
