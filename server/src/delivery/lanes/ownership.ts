/** The lanes of this node: taken with all that is known of them, kept by a heartbeat, and let go of. */
import type { Storage } from '../../storage/storage.ts';
import type { Log } from '../../telemetry/log.ts';
import type { Book } from '../channels/book.ts';
import type { Channels } from '../channels/channels.ts';
import { forgetLane, restore } from './lagging.ts';
import { createLane, type Lane } from './lane.ts';
import { GOOD_FOR_MS, type Lease, type Leases } from './lease.ts';
import { readDone, readOpen, readPositions } from './reader.ts';

/** Lanes that are read at once when they are taken, of the 16 connections of PostgreSQL's pool. */
const LOADS_AT_ONCE = 8;

export type Ownership = {
  /** One statement: keeps the leases, learns of moved heads and of changed configuration, and takes what is free. */
  renew(): Promise<void>;
  /** Monotonic milliseconds until which this node may send. */
  readonly sendUntil: number;
  /** Others may take this node for dead: nothing is sent before it has renewed. */
  doubt(): void;
};

export function createOwnership(options: {
  storage: Storage;
  log: Log;
  leases: Leases;
  lanes: Map<number, Lane>;
  lanesMax: number;
  channels: Channels;
  book: Book;
  monotonicMs: () => number;
  mayAcquire: () => boolean;
  reload: () => Promise<void>;
  /** The lane is here, and so is what waits in it; these rows wait behind nothing and have no time yet. */
  onTaken: (lane: Lane, stranded: readonly { endpointId: string; seq: number }[]) => void;
  onLost: (lane: Lane) => void;
}): Ownership {
  const { storage, leases, lanes, channels, book } = options;
  let sendUntil = 0;

  async function renew() {
    const before = options.monotonicMs();
    const renewal = await leases.renew();
    const ours = new Map(renewal.lanes.map((lane) => [lane.lane, lane]));
    for (const lane of lanes.values()) {
      const renewed = ours.get(lane.number);
      if (renewed?.epoch !== lane.epoch) lose(lane);
      else if (renewed.head > lane.read) lane.moved = true;
    }
    sendUntil = before + GOOD_FOR_MS;
    if (lanes.size < options.lanesMax && options.mayAcquire()) await acquire();
    if (renewal.configurationVersion !== null && renewal.configurationVersion !== channels.version) await options.reload();
  }

  function lose(lane: Lane) {
    lane.lost = true;
    lanes.delete(lane.number);
    book.forgetLane(lane.number);
    options.onLost(lane);
    forgetLane(lane);
    options.log.warn({ lane: lane.number, epoch: lane.epoch }, 'lane taken over by another node');
  }

  async function acquire() {
    const taken = await leases.acquire();
    if (taken.length === 0) return;
    // Endpoints that lag here may be newer than what is loaded.
    await options.reload();
    for (let first = 0; first < taken.length; first += LOADS_AT_ONCE) {
      await Promise.all(taken.slice(first, first + LOADS_AT_ONCE).map(load));
    }
  }

  /** Only after the epoch was raised: from then on nobody else settles the lane. */
  async function load({ lane: number, epoch, settled }: Lease) {
    const [done, positions, open] = await Promise.all([
      readDone(storage, number, settled),
      readPositions(storage, number),
      readOpen(storage, number),
    ]);
    const before = lanes.get(number);
    if (before) lose(before);
    const lane = createLane(number, epoch, settled);
    for (const row of done) {
      const endpoints = lane.done.get(row.seq);
      if (endpoints) endpoints.add(row.endpoint_id);
      else lane.done.set(row.seq, new Set([row.endpoint_id]));
    }
    for (const { endpointId, ...position } of positions) {
      const channel = channels.get(endpointId);
      if (channel) restore(channel, lane, position);
      else lane.ended.add(endpointId);
    }
    const stranded: { endpointId: string; seq: number }[] = [];
    for (const row of open) {
      const itemId = row.item_id;
      book.add({ lane: number, endpointId: row.endpoint_id, itemId, seq: row.seq });
      const waitsForNone = itemId === null || book.head(number, row.endpoint_id, itemId) === row.seq;
      if (waitsForNone && row.due_at === null) stranded.push({ endpointId: row.endpoint_id, seq: row.seq });
    }
    lanes.set(number, lane);
    options.onTaken(lane, stranded);
  }

  return {
    renew,
    get sendUntil() {
      return sendUntil;
    },
    doubt() {
      sendUntil = 0;
    },
  };
}
