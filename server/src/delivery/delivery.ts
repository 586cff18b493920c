/** Events to receivers: leases lanes, follows them, sends, settles. Knows events and endpoints, and no banks. */
import type { Clock } from '../base/clock.ts';
import { startLoop } from '../base/loop.ts';
import { randomId } from '../base/random.ts';
import type { AddressPolicy } from '../endpoints/addresses.ts';
import { LANES } from '../events/log.ts';
import type { Storage } from '../storage/storage.ts';
import type { Log } from '../telemetry/log.ts';
import type { Vault } from '../vault/vault.ts';
import { createBook } from './channels/book.ts';
import { type Channel, createChannels, PARKED_MAX } from './channels/channels.ts';
import { createDue } from './channels/due.ts';
import { afterFailure } from './channels/retry.ts';
import { createCatchUp } from './lanes/catch-up.ts';
import { close, fallBehind, forget, skipThrough } from './lanes/lagging.ts';
import type { Job, Lane, Outcome, Result } from './lanes/lane.ts';
import { createLeases } from './lanes/lease.ts';
import { createOwnership } from './lanes/ownership.ts';
import { createTail } from './lanes/tail.ts';
import type { Place } from './settling/settle.ts';
import { createSettler, UNFLUSHED_MAX } from './settling/settler.ts';

/** One statement a second when idle; also how soon another process's changes are noticed. */
const HEARTBEAT_MS = 1_000;
/** A delivery that is queued or under way for longer no longer holds its lane back: its endpoint lags there. */
const LIVE_MAX_MS = 2_000;
/** What is under way at a stop may end within this time; then it is broken off, and sent again by the next start. */
const DRAIN_MS = 2_000;

/** After its commit. `n` counts the attempts of this event for this endpoint from 1. */
export type AttemptReport = {
  eventId: string;
  type: string;
  applicationId: string;
  endpointId: string;
  source: Job['source'];
  n: number;
  /** What becomes of a failure. */
  next: 'retry' | 'waiting' | 'dead' | null;
} & Outcome;

/** `lagging` counts pairs of an endpoint and a lane. */
export type DeliveryStats = {
  lanes: number;
  queued: number;
  underWay: number;
  unflushed: number;
  lagging: number;
  delivered: number;
  failed: number;
};

export type Delivery = {
  /** Events were committed, in these lanes if given. Coalesced. */
  wake(lanes?: readonly number[]): void;
  /** Erased items: what waits of them in this node's queues is not sent any more. */
  forgetItems(itemIds: ReadonlySet<number>): void;
  /** One heartbeat now, with all that it looks after: leases, configuration, lanes, what is due. */
  tick(): Promise<void>;
  /** Sends nothing new, lets what is under way end within `drainMs`, settles, and frees its lanes. */
  stop(drainMs?: number): Promise<void>;
  /** Stops as a crash would: nothing more is settled, no lane is freed. */
  abandon(): Promise<void>;
  stats(): DeliveryStats;
};

export type DeliveryOptions = {
  storage: Storage;
  vault: Vault;
  clock: Clock;
  policy: AddressPolicy;
  /** Of Pontage, for the user agent. */
  version: string;
  log: Log;
  /** Of this node, kept over restarts: a node that returns has its lanes back at once. Random when absent. */
  nodeId?: string;
  deadlineMs?: number;
  random?: () => number;
  monotonicMs?: () => number;
  onAttempt?: (report: AttemptReport) => void;
};

export function startDelivery(options: DeliveryOptions): Delivery {
  const { storage, clock, log } = options;
  const owner = options.nodeId ?? randomId('node');
  const random = options.random ?? Math.random;
  const monotonicMs = options.monotonicMs ?? (() => performance.now());
  const lanes = new Map<number, Lane>();
  const counts = { delivered: 0, failed: 0 };
  let stopping = false;
  let abandoned = false;
  let troubled = false;
  let woken = false;
  let onIdle: (() => void) | null = null;

  const maySend = () => !stopping && !troubled && settler.unflushed < UNFLUSHED_MAX && monotonicMs() < ownership.sendUntil;

  const book = createBook();
  const channels = createChannels({
    ...options,
    book,
    maySend,
    onHeld,
    onOutcome,
    onRoom: () => tail.hand(),
    onThirst: (channel) => catchUp.want(channel),
  });
  const leases = createLeases({ storage, owner, monotonicMs, onLost: () => ownership.doubt() });
  const settler = createSettler({ storage, clock, owner, lanes, onSettled, onTrouble, onLaneLost: () => ownership.renew() });
  const catchUp = createCatchUp({ storage, channels, monotonicMs, reload, onTrouble });
  const tail = createTail({ storage, lanes, channels, monotonicMs, reload, onBehind: (channel) => catchUp.want(channel), onTrouble });
  const drop = (job: Job, endpointId: string) => record({ job, endpointId, outcome: null, park: null });
  const wait = (job: Job, endpointId: string) =>
    record({ job, endpointId, outcome: null, park: { state: 'waiting', attempts: job.attempts, dueAt: null } });
  const due = createDue({ storage, clock, lanes, channels, book, monotonicMs, mayClaim: maySend, drop, wait, onTrouble });
  const ownership = createOwnership({
    ...{ storage, log, leases, lanes, lanesMax: LANES, channels, book, monotonicMs, reload, onLost },
    mayAcquire: () => !stopping,
    onTaken(lane, stranded) {
      for (const place of stranded) settler.release({ lane, ...place });
      for (const channel of channels.all()) skip(channel, [lane]);
      due.note(0);
    },
  });

  /** The one way in which a delivery comes to rest: what waited for it goes on, and its rows follow with the next flush. */
  function record(result: Result) {
    const { job, endpointId, park } = result;
    const { lane, event } = job;
    if (lane.lost) return;
    if (!job.parked) close(job);
    const row = { lane: lane.number, endpointId, itemId: event.itemId, seq: event.seq };
    if (park !== null && park.state !== 'dead') book.add(row);
    else if (job.parked) {
      book.remove(row);
      const next = event.itemId === null ? undefined : book.head(lane.number, endpointId, event.itemId);
      if (next !== undefined && !channels.get(endpointId)?.claims.has(`${lane.number}/${next}`)) {
        settler.release({ lane, endpointId, seq: next });
      }
    }
    settler.add(result);
    const channel = channels.get(endpointId);
    if (channel) count(channel);
  }

  /** A node has its share of what may be parked: as much as it has of the lanes. */
  function count(channel: Channel) {
    const size = book.size(channel.endpoint.id);
    const most = (PARKED_MAX * lanes.size) / LANES;
    if (channel.crowded && size < most / 2) {
      channel.crowded = false;
      catchUp.want(channel);
    } else if (size > most) channel.crowded = true;
  }

  function onOutcome(channel: Channel, job: Job, outcome: Outcome) {
    if (abandoned) return;
    const endpointId = channel.endpoint.id;
    if (channel.gone) drop(job, endpointId);
    else if (outcome.failure === null) record({ job, endpointId, outcome, park: null });
    else {
      const attempts = job.attempts + 1;
      record({
        job,
        endpointId,
        outcome,
        park: { attempts, ...afterFailure(attempts, clock.now(), random(), channel.endpoint.retryDelaysMs ?? undefined) },
      });
      if (outcome.failure.class === 'gone' && channel.enabled) {
        channel.enabled = false;
        settler.disable(endpointId);
        letGo(channel);
        log.warn({ endpoint: endpointId }, 'webhook disabled: its receiver answered 410');
      }
    }
    if (stopping && underWay() <= 1) queueMicrotask(() => onIdle?.());
  }

  /** It waits behind an older one of its item, which is parked. */
  function onHeld(channel: Channel, job: Job) {
    const endpointId = channel.endpoint.id;
    const { number: lane } = job.lane;
    if (job.parked) due.unclaim(channel, [job]);
    else if (book.has({ lane, endpointId, itemId: job.event.itemId, seq: job.event.seq })) close(job);
    else wait(job, endpointId);
  }

  /** Nothing waits in its queue any more: it lags where it has something to come, and its retries are due again later. */
  function letGo(channel: Channel) {
    const { queue } = channel;
    for (const lane of lanesOf(channel)) fallBehind(channel, lane, { drop: true });
    const parked = queue.take(() => true).filter((job) => job.parked && !job.lane.lost);
    due.unclaim(channel, parked);
    const endpointId = channel.endpoint.id;
    for (const { lane, event } of parked) {
      // One that waited behind an older one may be its item's oldest by now, and has no time of its own.
      const isHead = event.itemId === null || book.head(lane.number, endpointId, event.itemId) === event.seq;
      if (isHead) settler.release({ lane, endpointId, seq: event.seq });
    }
  }

  /** Those of the jobs that have not been parked. */
  function lanesOf({ queue }: Channel, which: (job: Job) => boolean = () => true): Set<Lane> {
    const found = new Set<Lane>();
    for (const job of queue.jobs()) if (!job.parked && !job.lane.lost && which(job)) found.add(job.lane);
    return found;
  }

  function forgetChannel(channel: Channel) {
    for (const lane of lanesOf(channel)) fallBehind(channel, lane);
    forget(channel);
    for (const job of channel.queue.take(() => true)) drop(job, channel.endpoint.id);
    book.forgetEndpoint(channel.endpoint.id);
    settler.forget(channel.endpoint.id);
  }

  /** Its owner wants nothing of what came before it was enabled. */
  function skip(channel: Channel, among: Iterable<Lane>) {
    const { id, skipThrough: positions } = channel.endpoint;
    if (!positions) return;
    for (const lane of among) {
      const through = positions[lane.number] ?? 0;
      const waiting = book.upTo(lane.number, id, through).filter(({ seq }) => !channel.claims.has(`${lane.number}/${seq}`));
      for (const row of waiting) book.remove(row);
      skipThrough(
        channel,
        lane,
        through,
        waiting.map(({ seq }) => seq),
      );
    }
    count(channel);
  }

  function onSettled(results: readonly Result[], released: readonly Place[]) {
    due.release(results);
    if (released.length > 0) due.note(clock.now());
    for (const { job, endpointId, outcome, park } of results) {
      if (!outcome) continue;
      if (outcome.failure === null) counts.delivered += 1;
      else counts.failed += 1;
      if (!options.onAttempt) continue;
      const { event, source } = job;
      const named = { eventId: event.id, type: event.type, applicationId: event.applicationId, endpointId };
      options.onAttempt({ ...named, source, n: job.attempts + 1, next: park?.state ?? null, ...outcome });
    }
    if (stopping) return;
    for (const channel of channels.all()) channel.queue.kick();
    void due.check();
  }

  async function reload() {
    const { enabled, removed, unordered, skipping } = await channels.reload();
    for (const channel of removed) forgetChannel(channel);
    for (const channel of unordered) settler.revive(channel.endpoint.id);
    for (const channel of skipping) skip(channel, lanes.values());
    for (const channel of channels.all()) tend(channel);
    if (enabled.length + unordered.length > 0) due.note(0);
  }

  /** Brings the channel in line with its gate and with the time. */
  function tend(channel: Channel) {
    const rests = channel.gate.mustLag();
    if (rests && channel.queue.size > 0) letGo(channel);
    const before = monotonicMs() - LIVE_MAX_MS;
    for (const lane of lanesOf(channel, (job) => job.lag === null && job.queuedAt <= before)) fallBehind(channel, lane);
    const sends = !rests && channel.gate.maySend();
    if (sends && !channel.sends) due.note(0);
    channel.sends = sends;
    catchUp.want(channel);
  }

  function onLost(lane: Lane) {
    due.forgetLane(lane);
    for (const channel of channels.all()) channel.queue.take((job) => job.lane === lane);
  }

  async function beat() {
    await ownership.renew();
    if (troubled) log.info({}, 'delivery goes on');
    troubled = false;
    for (const channel of channels.all()) tend(channel);
    await settler.flush();
    for (const channel of channels.all()) channel.queue.kick();
    tail.hand();
    await tail.read();
    await due.check();
  }

  function onTrouble(error: unknown) {
    if (!troubled && !abandoned) log.error({ error }, 'delivery pauses: the database did not answer; it goes on by itself');
    troubled = true;
  }

  let beating: Promise<void> = Promise.resolve();
  const tick = () => {
    beating = beating.then(beat).catch(onTrouble);
    return beating;
  };
  const heartbeat = startLoop({
    step: async () => {
      if (!stopping) await tick();
      return { pauseMs: HEARTBEAT_MS };
    },
    onError: onTrouble,
  });

  const underWay = () => [...channels.all()].reduce((sum, { queue }) => sum + queue.underWay, 0);

  return {
    wake(moved) {
      if (moved) {
        for (const number of moved) {
          const lane = lanes.get(number);
          if (lane) lane.moved = true;
        }
      } else tail.askHeads();
      if (woken || stopping) return;
      woken = true;
      setImmediate(() => {
        woken = false;
        if (!stopping) void tail.read();
      });
    },
    forgetItems(itemIds) {
      for (const channel of channels.all()) {
        const erased = channel.queue.take(({ event }) => event.itemId !== null && itemIds.has(event.itemId));
        for (const job of erased) drop(job, channel.endpoint.id);
      }
    },
    tick,
    async stop(drainMs = DRAIN_MS) {
      stopping = true;
      tail.stop();
      catchUp.stop();
      await heartbeat.stop();
      await beating;
      if (underWay() > 0) {
        let timer: NodeJS.Timeout | undefined;
        await new Promise<void>((resolve) => {
          onIdle = resolve;
          timer = setTimeout(resolve, drainMs);
        });
        clearTimeout(timer);
      }
      abandoned = true;
      await settler.flush();
      if (settler.unflushed > 0)
        log.warn({ results: settler.unflushed }, 'stopped with results that could not be written; those deliveries are repeated');
      settler.stop();
      await leases.leave().catch(onTrouble);
      await channels.destroy();
    },
    async abandon() {
      stopping = true;
      abandoned = true;
      tail.stop();
      catchUp.stop();
      settler.stop();
      await Promise.all([heartbeat.stop(), channels.destroy()]);
      await beating;
      await leases.abandon();
    },
    stats: () => ({
      lanes: lanes.size,
      queued: [...channels.all()].reduce((sum, { queue }) => sum + queue.size, 0),
      underWay: underWay(),
      unflushed: settler.unflushed,
      lagging: [...channels.all()].reduce((sum, { lags }) => sum + lags.size, 0),
      ...counts,
    }),
  };
}
