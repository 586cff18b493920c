/** The lanes of this node: taken with all that is known of them, kept by a heartbeat, and let go of. */
import type { Storage } from '../../storage/storage.ts';
import type { Log } from '../../telemetry/log.ts';
import type { Book } from '../channels/book.ts';
import type { Channels } from '../channels/channels.ts';
import { forgetLane, restore } from './lagging.ts';
import { createLane, type Lane } from './lane.ts';
import { GOOD_FOR_MS, type Lease, type Leases, type Renewal } from './lease.ts';
import { readDone, readOpen, readPositions } from './reader.ts';

/** What is under way in a lane that is handed over may end within this time; then the lane goes, and its next owner repeats it. */
const HANDOVER_MAX_MS = 2_000;
/** Lanes that are read at once when they are taken, as many as PostgreSQL has connections for reads. */
const LOADS_AT_ONCE = 8;

export type Ownership = {
  /** One statement: keeps the leases, learns of moved heads and of changed configuration, and takes what is free. */
  renew(): Promise<void>;
  /**
   * Whether this node may send. By both clocks: the monotonic one stands still while the machine is suspended, and the wall
   * clock may be set back. One that is set ahead only holds sending up until the next heartbeat.
   */
  isGood(): boolean;
  /** A request of a lane that is handed over has ended. */
  ended(): void;
  /** Others may take this node for dead: nothing is sent before it has renewed. */
  doubt(): void;
};

export function createOwnership(options: {
  storage: Storage;
  wallMs: () => number;
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
  /** Nothing more of the lane is sent here. */
  onLeaving: (lane: Lane) => void;
  /** After each renewal, before the configuration is loaded that it may tell of. */
  onRenewed: (renewal: Renewal) => Promise<void>;
  /** Writes all there is of this node's lanes. */
  flush: () => Promise<void>;
  onTrouble: (error: unknown) => void;
}): Ownership {
  const { storage, leases, lanes, channels, book } = options;
  /** When the last renewal was begun; null where it does not count any more. */
  let renewedAt: { monotonicMs: number; wallMs: number } | null = null;
  let handing: Promise<void> | null = null;
  let acquiring = 0;

  async function renew() {
    const before = { monotonicMs: options.monotonicMs(), wallMs: options.wallMs() };
    const renewal = await leases.renew();
    const ours = new Map(renewal.lanes.map((lane) => [lane.lane, lane]));
    for (const lane of lanes.values()) {
      const renewed = ours.get(lane.number);
      if (renewed?.epoch !== lane.epoch) lose(lane);
      else if (renewed.head > lane.read) lane.moved = true;
    }
    renewedAt = before;
    await options.onRenewed(renewal);
    for (const number of renewal.give) leave(lanes.get(number));
    // While one is being written it may be the one that waits for this: it found that a lane is lost.
    if (!handing) await handOver();
    if (acquiring === 0) await freeStrays(renewal);
    if (lanes.size < options.lanesMax && options.mayAcquire()) await acquire();
    if (renewal.configurationVersion !== null && renewal.configurationVersion !== channels.version) await options.reload();
  }

  function lose(lane: Lane) {
    drop(lane);
    options.log.warn({ lane: lane.number, epoch: lane.epoch }, 'lane taken over by another node');
  }

  function drop(lane: Lane) {
    lane.lost = true;
    lanes.delete(lane.number);
    book.forgetLane(lane.number);
    options.onLost(lane);
    forgetLane(lane);
  }

  function leave(lane: Lane | undefined) {
    if (!lane || lane.leavingSince !== null) return;
    lane.leavingSince = options.monotonicMs();
    options.onLeaving(lane);
  }

  /** The lanes whose requests have ended, or have had their time. One after another: what is written belongs to its lane. */
  function handOver(): Promise<void> {
    handing ??= handOverReady().finally(() => {
      handing = null;
    });
    return handing;
  }

  async function handOverReady() {
    const ready = [...lanes.values()].filter(({ leavingSince, underWay }) => {
      return leavingSince !== null && (underWay === 0 || options.monotonicMs() - leavingSince >= HANDOVER_MAX_MS);
    });
    if (ready.length === 0) return;
    await options.flush();
    await leases.release(ready);
    for (const lane of ready) if (lanes.get(lane.number) === lane) drop(lane);
    options.log.info({ lanes: ready.length }, 'lanes handed over to another node');
  }

  /** The database failed between taking these and loading them: they are ours, and nobody sends what is in them. */
  async function freeStrays(renewal: Renewal) {
    const strays = renewal.lanes.filter(({ lane }) => !lanes.has(lane));
    if (strays.length > 0) await leases.release(strays.map(({ lane, epoch }) => ({ number: lane, epoch })));
  }

  async function acquire() {
    acquiring += 1;
    try {
      const taken = await leases.acquire();
      if (taken.length === 0) return;
      // Endpoints that lag here may be newer than what is loaded.
      await options.reload();
      for (let first = 0; first < taken.length; first += LOADS_AT_ONCE) {
        await Promise.all(taken.slice(first, first + LOADS_AT_ONCE).map(load));
      }
    } finally {
      acquiring -= 1;
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
      // Deleted: what it has left is taken by upkeep, and nothing waits behind it.
      if (!channels.get(row.endpoint_id)) continue;
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
    isGood() {
      if (renewedAt === null) return false;
      return options.monotonicMs() - renewedAt.monotonicMs < GOOD_FOR_MS && options.wallMs() - renewedAt.wallMs < GOOD_FOR_MS;
    },
    ended: () => void handOver().catch(options.onTrouble),
    doubt() {
      renewedAt = null;
    },
  };
}
