/** One channel per live endpoint: its settings, its queue and its connections. No channel waits for another. */
import type { Clock } from '../../base/clock.ts';
import type { AddressPolicy } from '../../endpoints/addresses.ts';
import { type DeliverableEndpoint, loadEndpoints } from '../../endpoints/endpoints.ts';
import type { LoggedEvent } from '../../events/log.ts';
import type { Storage } from '../../storage/storage.ts';
import type { Vault } from '../../vault/vault.ts';
import type { Job, Outcome } from '../lanes/lane.ts';
import { createMatcher, type Matcher } from '../lanes/matching.ts';
import { CONCURRENCY, createSender, type Sender } from '../sending/sender.ts';
import { createQueue, type Queue } from './queue.ts';

/** Live jobs that may wait for one endpoint: some 25 ms of a fast receiver's work, less than 1 MB. */
export const QUEUE_MAX = 500;

export type Channel = {
  endpoint: DeliverableEndpoint;
  enabled: boolean;
  /** Deleted: what is still under way for it is dropped. */
  gone: boolean;
  /** Reading waits for room in its queue. */
  blocking: boolean;
  /** It kept others or its own events waiting too long: until its queue has run empty, reading waits for it no more. */
  slow: boolean;
  /** Parked deliveries in the queue or under way, as `lane/seq`. */
  readonly claims: Set<string>;
  readonly queue: Queue;
  sender: Sender;
};

export type Reload = { enabled: Channel[]; disabled: Channel[]; removed: Channel[] };

export type Channels = {
  /** Of the configuration that is loaded; -1 before the first. */
  readonly version: number;
  get(endpointId: string): Channel | undefined;
  all(): IterableIterator<Channel>;
  match(event: LoggedEvent): readonly string[];
  /** Answers what changed for queues. */
  reload(): Promise<Reload>;
  close(): Promise<void>;
  destroy(): Promise<void>;
};

export function createChannels(options: {
  storage: Storage;
  vault: Vault;
  clock: Clock;
  policy: AddressPolicy;
  version: string;
  deadlineMs?: number;
  maySend: () => boolean;
  onOutcome: (channel: Channel, job: Job, outcome: Outcome) => void;
  onRoom: () => void;
}): Channels {
  const channels = new Map<string, Channel>();
  let match: Matcher = () => [];
  let version = -1;

  function open(endpoint: DeliverableEndpoint): Channel {
    const channel: Channel = {
      endpoint,
      enabled: endpoint.enabled,
      gone: false,
      blocking: false,
      slow: false,
      claims: new Set(),
      sender: createSender(endpoint, options),
      queue: createQueue({ concurrency: CONCURRENCY, maySend: options.maySend, start }),
    };
    function start(job: Job, finished: () => void) {
      if (channel.blocking && channel.queue.live <= QUEUE_MAX / 2) {
        channel.blocking = false;
        queueMicrotask(options.onRoom);
      }
      channel.sender.send(job.event, (outcome) => {
        if (channel.slow && outcome.failure === null && channel.queue.size === 0) channel.slow = false;
        options.onOutcome(channel, job, outcome);
        finished();
      });
    }
    return channel;
  }

  function change(channel: Channel, endpoint: DeliverableEndpoint) {
    const before = channel.endpoint;
    channel.endpoint = endpoint;
    channel.enabled = endpoint.enabled;
    if (before.url === endpoint.url && JSON.stringify(before.secrets) === JSON.stringify(endpoint.secrets)) return;
    void channel.sender.close();
    channel.sender = createSender(endpoint, options);
  }

  let reloading: Promise<void> = Promise.resolve();

  return {
    get version() {
      return version;
    },
    get: (id) => channels.get(id),
    all: () => channels.values(),
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
    const changed: Reload = { enabled: [], disabled: [], removed: [] };
    const live = new Set<string>();
    for (const endpoint of loaded.endpoints) {
      live.add(endpoint.id);
      let channel = channels.get(endpoint.id);
      const wasEnabled = channel?.enabled ?? false;
      if (channel) change(channel, endpoint);
      else {
        channel = open(endpoint);
        channels.set(endpoint.id, channel);
      }
      if (channel.enabled && !wasEnabled) changed.enabled.push(channel);
      if (!channel.enabled && wasEnabled) changed.disabled.push(channel);
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
