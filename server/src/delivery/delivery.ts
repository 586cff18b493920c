/** Events to receivers: leases lanes, follows them, sends, settles. Knows events and endpoints, and no banks. */
import type { Clock } from '../base/clock.ts';
import { startLoop } from '../base/loop.ts';
import { randomId } from '../base/random.ts';
import type { AddressPolicy } from '../endpoints/addresses.ts';
import { LANES } from '../events/log.ts';
import type { Storage } from '../storage/storage.ts';
import type { Log } from '../telemetry/log.ts';
import type { Vault } from '../vault/vault.ts';
import { type Channel, createChannels } from './channels/channels.ts';
import { createDue } from './channels/due.ts';
import { afterFailure } from './channels/retry.ts';
import { createLane, type Job, type Lane, type Outcome, type Result } from './lanes/lane.ts';
import { createLeases, GOOD_FOR_MS } from './lanes/lease.ts';
import { readDone } from './lanes/reader.ts';
import { createTail } from './lanes/tail.ts';
import { createSettler, UNFLUSHED_MAX } from './settling/settler.ts';

/** One statement a second when idle; also how soon another process's changes are noticed. */
const HEARTBEAT_MS = 1_000;
/** A live delivery that has waited this long is put aside, so that its lane's settled position can go on. */
const WAIT_MAX_MS = 2_000;
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

export type DeliveryStats = { lanes: number; queued: number; underWay: number; unflushed: number; delivered: number; failed: number };

export type Delivery = {
  /** Events were committed, in these lanes if given. Coalesced. */
  wake(lanes?: readonly number[]): void;
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
  let sendUntil = 0;
  let stopping = false;
  let abandoned = false;
  let troubled = false;
  let woken = false;
  let onIdle: (() => void) | null = null;

  const maySend = () => !stopping && !troubled && settler.unflushed < UNFLUSHED_MAX && monotonicMs() < sendUntil;

  const channels = createChannels({ ...options, maySend, onOutcome, onRoom: () => tail.hand() });
  const leases = createLeases({ storage, owner, monotonicMs, onLost: () => (sendUntil = 0) });
  const settler = createSettler({ storage, clock, owner, lanes, onSettled, onTrouble, onLaneLost: () => renew() });
  const tail = createTail({ storage, lanes, channels, monotonicMs, reload, putAside, onTrouble });
  const drop = (job: Job, endpointId: string) => settler.add({ job, endpointId, outcome: null, park: null });
  const due = createDue({ storage, clock, lanes, channels, monotonicMs, mayClaim: maySend, drop, onTrouble });

  function onOutcome(channel: Channel, job: Job, outcome: Outcome) {
    if (abandoned) return;
    const endpointId = channel.endpoint.id;
    if (channel.gone) settler.add({ job, endpointId, outcome: null, park: null });
    else if (outcome.failure === null) settler.add({ job, endpointId, outcome, park: null });
    else {
      const attempts = job.attempts + 1;
      settler.add({ job, endpointId, outcome, park: { attempts, ...afterFailure(attempts, clock.now(), random()) } });
      if (outcome.failure.class === 'gone' && channel.enabled) {
        channel.enabled = false;
        settler.disable(endpointId);
        emptyQueue(channel);
        log.warn({ endpoint: endpointId }, 'webhook disabled: its receiver answered 410');
      }
    }
    if (stopping && underWay() <= 1) queueMicrotask(() => onIdle?.());
  }

  /** A disabled endpoint's events wait without a due time; a slow one's are due as soon as its queue has room. */
  function putAside(job: Job, channel: Channel) {
    const dueAt = channel.enabled ? clock.now() : null;
    settler.add({ job, endpointId: channel.endpoint.id, outcome: null, park: { state: 'waiting', attempts: job.attempts, dueAt } });
  }

  function emptyQueue(channel: Channel) {
    for (const job of channel.queue.take(() => true)) {
      if (job.parked) channel.claims.delete(`${job.lane.number}/${job.event.seq}`);
      else if (channel.gone) drop(job, channel.endpoint.id);
      else putAside(job, channel);
    }
  }

  function onSettled(results: readonly Result[]) {
    due.release(results);
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
    const { enabled, disabled, removed } = await channels.reload();
    for (const channel of enabled) settler.revive(channel.endpoint.id);
    for (const channel of removed) settler.forget(channel.endpoint.id);
    for (const channel of [...disabled, ...removed]) emptyQueue(channel);
    if (enabled.length > 0) due.note(0);
  }

  /** One statement: keeps the leases, and learns of moved heads and of changed configuration. */
  async function renew() {
    const before = monotonicMs();
    const renewal = await leases.renew();
    const ours = new Map(renewal.lanes.map((lane) => [lane.lane, lane]));
    for (const lane of lanes.values()) {
      const renewed = ours.get(lane.number);
      if (renewed?.epoch !== lane.epoch) lose(lane);
      else if (renewed.head > lane.read) lane.moved = true;
    }
    sendUntil = before + GOOD_FOR_MS;
    if (lanes.size < LANES && !stopping) await acquire();
    if (renewal.configurationVersion !== null && renewal.configurationVersion !== channels.version) await reload();
  }

  function lose(lane: Lane) {
    lane.lost = true;
    lanes.delete(lane.number);
    due.forgetLane(lane);
    for (const channel of channels.all()) channel.queue.take((job) => job.lane === lane);
    log.warn({ lane: lane.number, epoch: lane.epoch }, 'lane taken over by another node');
  }

  async function acquire() {
    const taken = await leases.acquire();
    if (taken.length === 0) return;
    if (channels.version === -1) await reload();
    const fresh = new Map(taken.map(({ lane, epoch, settled }) => [lane, createLane(lane, epoch, settled)]));
    // Only after the epoch was raised: from then on nobody else settles these lanes.
    for (const row of await readDone(storage, owner)) {
      const done = fresh.get(row.lane)?.done;
      if (!done) continue;
      const endpoints = done.get(row.seq);
      if (endpoints) endpoints.add(row.endpoint_id);
      else done.set(row.seq, new Set([row.endpoint_id]));
    }
    for (const [number, lane] of fresh) {
      const before = lanes.get(number);
      if (before) lose(before);
      lanes.set(number, lane);
    }
    due.note(0);
  }

  async function beat() {
    await renew();
    if (troubled) log.info({}, 'delivery goes on');
    troubled = false;
    putAsideOld();
    await settler.flush();
    for (const channel of channels.all()) channel.queue.kick();
    await tail.read();
    await due.check();
  }

  function putAsideOld() {
    const before = monotonicMs() - WAIT_MAX_MS;
    for (const channel of channels.all()) {
      const oldestAt = channel.queue.oldestLiveAt;
      if (oldestAt === null || oldestAt > before) continue;
      channel.slow = true;
      for (const job of channel.queue.take((candidate) => !candidate.parked && candidate.queuedAt <= before)) putAside(job, channel);
    }
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
    tick,
    async stop(drainMs = DRAIN_MS) {
      stopping = true;
      tail.stop();
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
      ...counts,
    }),
  };
}
