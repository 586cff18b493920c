/** One channel per live endpoint: its settings, its queue and its connections. No channel waits for another. */
import type { Clock } from '../../base/clock.ts';
import type { AddressPolicy } from '../../endpoints/addresses.ts';
import { type DeliverableEndpoint, loadEndpoints } from '../../endpoints/endpoints.ts';
import type { LoggedEvent } from '../../events/log.ts';
import type { Storage } from '../../storage/storage.ts';
import type { Vault } from '../../vault/vault.ts';
import type { Job, Outcome } from '../job.ts';
import type { Lag } from '../lanes/lane.ts';
import { createMatcher, type Matcher } from '../lanes/matching.ts';
import { createSender, type Sender, type Sending } from '../sending/sender.ts';
import { isBrokenOff, isUnreached, paceAnswerOf } from './answers.ts';
import type { Book } from './book.ts';
import type { Circuits } from './circuits.ts';
import { createGate, type Gate } from './gate.ts';
import { UNREACHED_TO_OPEN } from './health.ts';
import { type Admission, createQueue, type Queue, type Total } from './queue.ts';

/** Jobs that may wait for one endpoint: some 25 ms of a fast receiver's work, less than 1 MB. */
export const QUEUE_MAX = 500;
/** Jobs that may wait in all queues, about 20 MB. Beyond it an endpoint that has as many as it sends at once gets no more. */
export const QUEUED_MAX = 20_000;
/** Beyond this many parked deliveries that are not dead an endpoint is given no more events, until half of them are gone. */
export const PARKED_MAX = 10_000;

export type Channel = {
  endpoint: DeliverableEndpoint;
  enabled: boolean;
  /** Deleted: what is still under way for it is logged, and never tried again. */
  gone: boolean;
  /** What it is owed from before it was opened is known: see `begin` in `attendance.ts`. Nothing is sent before. */
  begun: boolean;
  /** Reading waits for room in its queue. */
  blocking: boolean;
  /** Too much is parked for it. */
  crowded: boolean;
  /** Whether it could send when it was last looked after. */
  sends: boolean;
  /** What it may be given now. */
  readonly gate: Gate;
  /** Lanes on which it lags, the least recently served first. */
  readonly lags: Map<number, Lag>;
  /** Failures in a row of which no event can be the cause. */
  unreached: number;
  /** Parked deliveries in the queue or under way, as `lane/seq`. */
  readonly claims: Set<string>;
  /** How often a claim has ended: a row that was read before the last of them may be of before its attempt. */
  releases: number;
  readonly queue: Queue;
  /** Requests under way. */
  readonly sendings: Map<Job, Sending>;
  sender: Sender;
};

/** `unordered`: keeps order no more. `skipping`: made, or changed, what its owner does not want to receive. */
export type Reload = { enabled: Channel[]; removed: Channel[]; unordered: Channel[]; skipping: Channel[] };

export type Channels = {
  /** Of the configuration that is loaded; -1 before the first. */
  readonly version: number;
  get(endpointId: string): Channel | undefined;
  all(): IterableIterator<Channel>;
  readonly size: number;
  /** How many more jobs may wait for it now; not above 0 when its queue is full. */
  roomOf(channel: Channel): number;
  /** Reading waits for room in its queue, or until another one is hungry. */
  block(channel: Channel): void;
  match(event: LoggedEvent): readonly string[];
  /** Answers what changed for queues. */
  reload(): Promise<Reload>;
  close(): Promise<void>;
  destroy(): Promise<void>;
};

/** Whether it may be given events that it has not had. */
export function mayRead(channel: Channel): boolean {
  return !channel.crowded && !channel.gate.mustLag();
}

/** Whether it follows and could send more than it has. */
export function isHungry(channel: Channel): boolean {
  return channel.queue.size < channel.gate.concurrency() && channel.lags.size === 0 && mayRead(channel);
}

export function createChannels(options: {
  storage: Storage;
  vault: Vault;
  clock: Clock;
  policy: AddressPolicy;
  version: string;
  deadlineMs?: number;
  book: Book;
  circuits: Circuits;
  monotonicMs: () => number;
  /** Of this node. */
  lanesOwned: () => number;
  maySend: () => boolean;
  /** Asked just before a request is written: the lease may have ended while its connection was opened. */
  mayWrite: () => boolean;
  /** The event is not to be sent any more. */
  isWithdrawn: (event: LoggedEvent) => boolean;
  /** A job whose item waits for an older event: it is not sent now. */
  onHeld: (channel: Channel, job: Job) => void;
  /** The receiver cannot be reached, and nothing that could be tried is left. */
  onUnreached: (channel: Channel) => void;
  /** `current`: the endpoint's address, secrets and headers are still those that this request was made with. */
  onOutcome: (channel: Channel, job: Job, outcome: Outcome, current: boolean) => void;
  /** What reading waited for has come: room in a queue, or a hungry channel. */
  onRoom: () => void;
  /** A channel that lags has room. */
  onThirst: (channel: Channel) => void;
}): Channels {
  const { book } = options;
  const total: Total = { queued: 0 };
  const channels = new Map<string, Channel>();
  let match: Matcher = () => [];
  let version = -1;
  let blocked = false;

  const roomOf = (channel: Channel) => (total.queued < QUEUED_MAX ? QUEUE_MAX : channel.gate.concurrency()) - channel.queue.live;

  function open(endpoint: DeliverableEndpoint): Channel {
    const gate = createGate({
      ...{ channel: () => channel, clock: options.clock, monotonicMs: options.monotonicMs, lanesOwned: options.lanesOwned },
      fitness: options.circuits.of(endpoint.id),
      onMayStart: () => channel.queue.kick(),
    });
    const ordered = () => channel.endpoint.ordering === 'item';
    const channel: Channel = {
      endpoint,
      enabled: endpoint.enabled,
      gone: false,
      begun: false,
      blocking: false,
      crowded: false,
      sends: false,
      unreached: 0,
      gate,
      lags: new Map(),
      claims: new Set(),
      releases: 0,
      sendings: new Map(),
      sender: createSender(endpoint, options),
      queue: createQueue({
        total,
        concurrency: gate.concurrency,
        ordered,
        maySend: () => options.maySend() && gate.maySend() && gate.mayStart(),
        admit,
        held: (job) => options.onHeld(channel, job),
        stalled,
        start,
      }),
    };
    function admit(job: Job): Admission {
      const { itemId } = job.event;
      if (options.isWithdrawn(job.event)) return 'refuse';
      if (itemId === null || job.replay || !ordered()) return 'start';
      const head = book.head(job.lane.number, channel.endpoint.id, itemId);
      if (head === undefined || (job.parked && head === job.event.seq)) return 'start';
      // Where the receiver is down, what waits would have been parked for nothing: its position tells of it.
      return !job.parked && gate.isFailing() ? 'hold' : 'refuse';
    }
    /** One item that the receiver cannot take must not keep the others from being tried. */
    function stalled() {
      if (channel.unreached === 0) channel.queue.yieldHeld();
      else if (channel.unreached >= UNREACHED_TO_OPEN) options.onUnreached(channel);
    }
    function start(job: Job, finished: (again: boolean) => void) {
      if (blocked && (channel.blocking ? channel.queue.live <= QUEUE_MAX / 2 : isHungry(channel))) {
        blocked = false;
        channel.blocking = false;
        queueMicrotask(options.onRoom);
      }
      if (channel.lags.size > 0 && wantsMore()) options.onThirst(channel);
      gate.started();
      job.lane.underWay += 1;
      const { sender } = channel;
      const sending = sender.send(job.event, (outcome) => {
        channel.sendings.delete(job);
        job.lane.underWay -= 1;
        const again = isBrokenOff(outcome) && !channel.gone && !job.lane.lost && job.lane.leavingSince === null;
        if (again) return finished(true);
        channel.unreached = isUnreached(outcome) ? channel.unreached + 1 : 0;
        if (!job.lane.lost) gate.finished(paceAnswerOf(outcome), outcome.durationMs);
        options.onOutcome(channel, job, outcome, channel.sender === sender);
        finished(false);
      });
      channel.sendings.set(job, sending);
    }
    const wantsMore = () => channel.queue.live <= QUEUE_MAX / 2 || channel.queue.size <= gate.concurrency();
    return channel;
  }

  function change(channel: Channel, endpoint: DeliverableEndpoint) {
    channel.endpoint = endpoint;
    channel.enabled = endpoint.enabled;
    if (channel.sender.follow(endpoint)) return;
    void channel.sender.close();
    channel.sender = createSender(endpoint, options);
    channel.unreached = 0;
    options.circuits.forgetCount(endpoint.id);
  }

  let reloading: Promise<void> = Promise.resolve();

  return {
    get version() {
      return version;
    },
    get: (id) => channels.get(id),
    all: () => channels.values(),
    get size() {
      return channels.size;
    },
    roomOf,
    block(channel) {
      channel.blocking = true;
      blocked = true;
    },
    match: (event) => match(event),
    reload() {
      // One at a time: an older load that ends after a newer one would take new endpoints for removed ones.
      const reloaded = reloading.then(reloadOnce);
      reloading = reloaded.then(
        () => {},
        () => {},
      );
      return reloaded;
    },
    async close() {
      await Promise.all([...channels.values()].map(({ sender }) => sender.close()));
    },
    async destroy() {
      await Promise.all([...channels.values()].map(({ sender }) => sender.destroy()));
    },
  };

  async function reloadOnce(): Promise<Reload> {
    const loaded = await loadEndpoints({ storage: options.storage, vault: options.vault, now: options.clock.now() });
    const changed: Reload = { enabled: [], removed: [], unordered: [], skipping: [] };
    const live = new Set<string>();
    for (const endpoint of loaded.endpoints) {
      live.add(endpoint.id);
      let channel = channels.get(endpoint.id);
      const before = { enabled: channel?.enabled ?? false, ...pick(channel?.endpoint) };
      if (channel) {
        change(channel, endpoint);
        // What was kept while it was disabled is a backlog like that of an outage.
        if (endpoint.enabled && !before.enabled) channel.gate.beginRamp();
      } else {
        channel = open(endpoint);
        channels.set(endpoint.id, channel);
      }
      channel.gate.adjust();
      if (channel.enabled && !before.enabled) changed.enabled.push(channel);
      if (before.ordering === 'item' && endpoint.ordering === 'none') changed.unordered.push(channel);
      if (endpoint.skipThrough && endpoint.skipThrough.join() !== before.skipThrough?.join()) changed.skipping.push(channel);
    }
    for (const channel of channels.values()) {
      if (live.has(channel.endpoint.id)) continue;
      channel.gone = true;
      channels.delete(channel.endpoint.id);
      changed.removed.push(channel);
      void channel.sender.close();
    }
    match = createMatcher(loaded.endpoints);
    version = loaded.configurationVersion;
    return changed;
  }
}

function pick(endpoint: DeliverableEndpoint | undefined): Partial<Pick<DeliverableEndpoint, 'ordering' | 'skipThrough'>> {
  return endpoint ? { ordering: endpoint.ordering, skipThrough: endpoint.skipThrough } : {};
}
