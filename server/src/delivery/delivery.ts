/** Events to receivers: leases lanes, follows them, sends, settles. Knows events and endpoints, and no banks. */
import type { Clock } from '../base/clock.ts';
import { startLoop } from '../base/loop.ts';
import { randomId } from '../base/random.ts';
import type { AddressPolicy } from '../endpoints/addresses.ts';
import { LANES, type LoggedEvent } from '../events/log.ts';
import type { Storage } from '../storage/storage.ts';
import type { Log } from '../telemetry/log.ts';
import type { Vault } from '../vault/vault.ts';
import { announce } from './channels/announce.ts';
import { answerOf, isBrokenOff, isOwnAttempt, parkAfter } from './channels/answers.ts';
import { createAttendance } from './channels/attendance.ts';
import { createBook } from './channels/book.ts';
import { type Channel, createChannels, PARKED_MAX } from './channels/channels.ts';
import { createCircuits, type Raised } from './channels/circuits.ts';
import { createDue } from './channels/due.ts';
import { createProbing } from './channels/probing.ts';
import { createWithdrawn } from './channels/withdrawn.ts';
import type { Job, Outcome, Result } from './job.ts';
import { createCatchUp } from './lanes/catch-up.ts';
import { createHints, readHint } from './lanes/hints.ts';
import type { Lane } from './lanes/lane.ts';
import { createLeases, type Passenger } from './lanes/lease.ts';
import { createOwnership } from './lanes/ownership.ts';
import { createTail } from './lanes/tail.ts';
import { createReplays } from './replay/engine.ts';
import type { ReplayResult } from './replay/settle.ts';
import { type AttemptReport, reportOfReplay, reportOfResult } from './reports.ts';
import { createRest } from './rest.ts';
import { createRecorder } from './settling/recorder.ts';
import type { Place } from './settling/settle.ts';
import { createSettler, UNFLUSHED_MAX } from './settling/settler.ts';
import { createTrouble } from './trouble.ts';

/**
 * One statement each time, also when idle; and how soon another process's changes are noticed. What else an idle server
 * asks, some eight statements a minute, has its place between this and one statement a second.
 */
const HEARTBEAT_MS = 1_200;
/** What is under way at a stop may end within this time; then it is broken off, and sent again by the next start. */
const DRAIN_MS = 2_000;

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
  /** Items that are being erased: nothing of them is sent any more. Other nodes learn of it by their heartbeats. */
  forgetItems(itemIds: ReadonlySet<number>): void;
  /**
   * For a test clock: ends when nothing of the application's deliveries can happen at this moment, and answers when something
   * next can (epoch milliseconds), or null. Throws `Restless` where that takes too long.
   */
  rest(applicationId: string, signal: AbortSignal): Promise<number | null>;
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
  /** Asked along with each heartbeat. */
  passengers?: readonly Passenger[];
  /** Of this node, kept over restarts: a node that returns has its lanes back at once. Random when absent. */
  nodeId?: string;
  /** Of this process, by which others know what it has taken. Random when absent. */
  life?: string;
  deadlineMs?: number;
  /** Between two heartbeats, {@link HEARTBEAT_MS} when absent. */
  heartbeatMs?: number;
  /** Of one endpoint, {@link PARKED_MAX} when absent. */
  parkedMax?: number;
  random?: () => number;
  monotonicMs?: () => number;
  /** Of the machine: it goes on while that is suspended, as the monotonic one does not. The real one when absent. */
  wallMs?: () => number;
  onAttempt?: (report: AttemptReport) => void;
  /** The configuration was read again, because somebody has changed it. */
  onConfiguration?: () => void;
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
  let woken = false;
  let nodes = 0;
  let onIdle: (() => void) | null = null;

  const trouble = createTrouble(log, () => abandoned);
  const onTrouble = trouble.begin;
  const maySend = () => !stopping && !trouble.isOn() && settler.unflushed < UNFLUSHED_MAX && mayWrite();
  const mayWrite = () => ownership.isGood();

  const book = createBook();
  const isWithdrawn = (event: LoggedEvent) => withdrawn.has(event);
  const circuits = createCircuits({
    ...{ storage, clock, raise: announce, onRaised, onTrouble },
    configurationVersion: () => channels.version,
  });
  const channels = createChannels({
    ...{ ...options, book, circuits, monotonicMs, maySend, mayWrite, isWithdrawn, onOutcome },
    lanesOwned: () => lanes.size,
    onHeld: (channel, job) => recorder.held(channel, job),
    onUnreached(channel) {
      circuits.giveUp(channel.endpoint.id);
      attendance.tend(channel);
    },
    onRoom: () => tail.hand(),
    onThirst: (channel) => catchUp.want(channel),
  });
  const hints = createHints({ storage, owner, others: () => nodes > 1 });
  const leases = createLeases({
    storage,
    owner,
    monotonicMs,
    passengers: options.passengers ?? [],
    onHint,
    onLost: () => ownership.doubt(),
    ...(options.life === undefined ? {} : { life: options.life }),
  });
  const settler = createSettler({
    ...{ storage, clock, owner, lanes, onSettled, onTrouble, before: circuits.flush },
    onLaneLost: () => ownership.renew(),
  });
  const reload = async () => {
    await attendance.reload();
    options.onConfiguration?.();
  };
  const want = (channel: Channel) => catchUp.want(channel);
  const catchUp = createCatchUp({ storage, channels, monotonicMs, reload, onTrouble });
  const tail = createTail({ storage, lanes, channels, monotonicMs, reload, onBehind: want, onTrouble });
  const recorder = createRecorder({
    lanes,
    channels,
    book,
    settler,
    withdrawn: () => withdrawn,
    parkedMax: options.parkedMax ?? PARKED_MAX,
    due: () => due,
    onRelief: want,
  });
  const due = createDue({ storage, clock, lanes, channels, book, monotonicMs, mayClaim: maySend, isWithdrawn, ...recorder, onTrouble });
  const probing = createProbing({
    ...{ storage, clock, monotonicMs, lanes, channels, book, circuits, maySend, isWithdrawn, settler, recorder, onTrouble },
    replays: () => replays,
  });
  const attendance = createAttendance({ lanes, channels, book, circuits, probing, settler, recorder, due, monotonicMs, want });
  const replays = createReplays({
    ...{ storage, clock, owner, lanes, channels, maySend, isWithdrawn, monotonicMs, onSettled: onReplayed, onTrouble },
  });
  const withdrawn = createWithdrawn({ storage, lanes, channels, book, recorder, replays });
  const ownership = createOwnership({
    ...{ storage, log, leases, lanes, lanesMax: LANES, channels, book, monotonicMs, reload, wallMs: options.wallMs ?? Date.now },
    mayAcquire: () => !stopping,
    onTaken: attendance.taken,
    onLost: attendance.lost,
    onLeaving: attendance.leaving,
    flush: async () => {
      await Promise.all([settler.flush(), replays.flush()]);
    },
    onTrouble,
    async onRenewed({ healthVersion, nodes: count, ...taken }) {
      nodes = count;
      await withdrawn.follow(taken);
      if (healthVersion !== null) await circuits.refresh(healthVersion);
    },
  });

  function onOutcome(channel: Channel, job: Job, outcome: Outcome, current: boolean) {
    if (abandoned) return;
    const endpointId = channel.endpoint.id;
    if (channel.gone) endOfGone(endpointId, job, outcome);
    // What was broken off says nothing of its receiver; the lane's next owner delivers it.
    else if (job.lane.lost || isBrokenOff(outcome)) job.replay?.drop();
    else {
      // What an address said that is not the endpoint's any more says nothing of the new one, which is tried at once.
      const { health, raised, costsAttempt } = current
        ? circuits.observe(endpointId, answerOf(outcome), job.source === 'probe')
        : { health: circuits.of(endpointId).health, raised: [], costsAttempt: false };
      const costs = costsAttempt || (current && isOwnAttempt(job, outcome, clock.now()));
      const failed = { costsAttempt: costs, health, delaysMs: channel.endpoint.retryDelaysMs, now: clock.now(), random };
      const park = outcome.failure === null ? null : parkAfter(job, failed);
      if (job.replay) job.replay.settle(outcome, park);
      else recorder.record({ job, endpointId, outcome, park });
      // At once; one that only failed has an open circuit, and another node may know better before it is written.
      if (raised.some((one) => one.kind === 'disabled' && one.reason === 'gone')) channel.enabled = false;
      // Not before the queue has let go of this job: it is recorded, and would be closed once more in the name of another.
      if (raised.length > 0) queueMicrotask(() => attendance.tend(channel));
    }
    rest.stir(channel.endpoint.applicationId);
    if (job.lane.leavingSince !== null) ownership.ended();
    if (stopping && underWay() <= 1) queueMicrotask(() => onIdle?.());
  }

  /** Its webhook was deleted meanwhile. The receiver may have had it, and the attempt log says so; nothing more becomes of it. */
  function endOfGone(endpointId: string, job: Job, outcome: Outcome) {
    if (!isBrokenOff(outcome)) {
      if (job.replay) job.replay.settle(outcome, null);
      else recorder.record({ job, endpointId, outcome, park: null });
    } else if (job.replay) job.replay.drop();
    else recorder.drop(job, endpointId);
  }

  function onSettled(results: readonly Result[], released: readonly Place[]) {
    due.release(results);
    // Its item's oldest may have ended while this was written as one that waits: nothing else gives it its time.
    for (const { job, endpointId, park } of results)
      if (job.parked && park?.state === 'waiting' && !job.lane.lost && job.event.itemId !== null)
        recorder.releaseHead(job.lane, endpointId, job.event.itemId);
    if (released.length > 0) due.note(clock.now());
    for (const result of results) {
      const attempt = reportOfResult(result);
      if (attempt) counts[attempt.failure === null ? 'delivered' : 'failed'] += 1;
      report(attempt);
    }
    if (stopping) return;
    for (const channel of channels.all()) channel.queue.kick();
    void due.check();
    for (const { job } of results) rest.stir(job.event.applicationId);
  }

  /** Replays are told and not counted: `stats` are of what the log owes. */
  function onReplayed({ endpointId }: { endpointId: string }, results: readonly ReplayResult[]) {
    for (const result of results) report(reportOfReplay(endpointId, result));
  }

  function report(attempt: AttemptReport | null) {
    if (attempt) options.onAttempt?.(attempt);
  }

  async function beat() {
    await ownership.renew();
    trouble.forget();
    for (const channel of channels.all()) attendance.tend(channel);
    await settler.flush();
    // A full disk takes the heartbeat, and refuses the results.
    if (!trouble.isOn()) trouble.tellEnd();
    for (const channel of channels.all()) channel.queue.kick();
    tail.hand();
    // Not waited for: under load there is always something more to read, and the lease must not end meanwhile.
    void read();
    await replays.tend();
  }

  async function read() {
    await tail.read();
    await due.check();
  }

  function onRaised(raised: readonly Raised[]) {
    for (const { endpointId, transition } of raised) {
      const fields = { endpoint: endpointId, ...transition };
      if (transition.kind === 'disabled') log.warn(fields, 'webhook disabled');
      else log.info(fields, `webhook ${transition.kind}`);
    }
  }

  function onHint(payload: string) {
    const hint = readHint(payload, owner);
    if (!hint || stopping) return;
    if (hint.kind === 'moved') return wake(hint.lanes);
    if (hint.kind === 'due') due.note(0);
    void tick();
  }

  let beating: Promise<void> = Promise.resolve();
  const tick = () => {
    beating = beating.then(beat).catch(onTrouble);
    return beating;
  };
  const heartbeat = startLoop({
    step: async () => {
      if (!stopping) await tick();
      return { pauseMs: options.heartbeatMs ?? HEARTBEAT_MS };
    },
    onError: onTrouble,
  });

  const rest = createRest({
    ...{ storage, clock, lanes, channels, book, circuits, monotonicMs, others: () => lanes.size < LANES, stopped: () => stopping },
    read() {
      tail.askHeads();
      return tail.read();
    },
    async beat() {
      due.note(0);
      hints.due();
      await tick();
      await read();
    },
  });

  const underWay = () => [...channels.all()].reduce((sum, { queue }) => sum + queue.underWay, 0);

  function wake(moved: readonly number[] | null) {
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
  }

  return {
    wake(moved) {
      wake(moved ?? null);
      hints.moved(moved);
    },
    forgetItems: withdrawn.forgetItems,
    async tick() {
      await tick();
      await read();
    },
    rest: rest.of,
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
      await replays.stop();
      await settler.flush();
      if (settler.unflushed > 0)
        log.warn({ results: settler.unflushed }, 'stopped with results that could not be written; those deliveries are repeated');
      settler.stop();
      circuits.stop();
      hints.stop();
      // What is still under way is broken off before another node may have its lane.
      await channels.destroy();
      await leases.leave().catch(onTrouble);
    },
    async abandon() {
      stopping = true;
      abandoned = true;
      tail.stop();
      catchUp.stop();
      settler.stop();
      circuits.stop();
      hints.stop();
      replays.abandon();
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
