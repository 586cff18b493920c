/**
 * For a test clock that deliveries go by: whether anything of one application's deliveries can happen at this moment, and
 * when something next can. A clock that is moved brings the due moments of its application nearer by as much, so that retries,
 * pauses and probes still run on the one real clock.
 */
import { type Clock, HOUR_MS, SECOND_MS } from '../base/clock.ts';
import { sql, sqlList } from '../storage/sql.ts';
import type { Storage, Writer } from '../storage/storage.ts';
import type { Book } from './channels/book.ts';
import { type Channel, type Channels, mayRead } from './channels/channels.ts';
import type { Circuits } from './channels/circuits.ts';
import { standing } from './channels/health.ts';
import type { Lane } from './lanes/lane.ts';

/** Of one moment, in real time: twice the longest deadline of an attempt (30 s). */
export const REST_MAX_MS = 60 * SECOND_MS;
/** What no result of this node tells of: another node's deliveries, a rate that allows the next request. */
const LOOK_AGAIN_MS = 20;

/** For people and for the API, in one voice. */
export const RESTLESS = `Deliveries of one moment took longer than ${REST_MAX_MS / SECOND_MS} s; the test clock stands where it was, and goes on when it is advanced again`;

/** Deliveries of one moment did not come to rest in time. */
export class Restless extends Error {}

export type Rest = {
  /** Resolves with the next moment at which something can happen (epoch milliseconds), or null. Throws {@link Restless}. */
  of(applicationId: string, signal: AbortSignal): Promise<number | null>;
  /** Something has come of a delivery of the application: who waits for it looks again. */
  stir(applicationId: string): void;
};

export function createRest(options: {
  storage: Storage;
  clock: Clock;
  lanes: ReadonlyMap<number, Lane>;
  channels: Channels;
  book: Book;
  circuits: Circuits;
  /** Whether some of the lanes are not here. */
  others: () => boolean;
  stopped: () => boolean;
  /** Reads all that is in the log and hands it to the queues. */
  read: () => Promise<void>;
  /** One heartbeat, here and on the other nodes: what is due is taken up, what has come is written. */
  beat: () => Promise<void>;
  monotonicMs: () => number;
}): Rest {
  const { storage, clock, lanes, channels, book, circuits } = options;
  let waiting: (() => void)[] = [];
  /** Of the applications that were ever waited for; others' traffic keeps nobody from rest. */
  const stirs = new Map<string, number>();

  const channelsOf = (applicationId: string) => [...channels.all()].filter(({ endpoint }) => endpoint.applicationId === applicationId);
  const isBehind = ({ lags }: Channel) => [...lags.values()].some((lag) => !lag.following && lag.read < lag.lane.handed);

  /** Something of it is under way, or will be without the help of time. */
  function isBusy(channel: Channel): boolean {
    const { queue, gate } = channel;
    if (queue.underWay > 0) return true;
    if (!channel.enabled || !gate.maySend()) return false;
    return queue.size > queue.held || (isBehind(channel) && mayRead(channel));
  }

  /** Nothing of it waits and nothing is known against it, so that no time could bring anything. */
  function isWell({ endpoint: { id }, lags, queue }: Channel): boolean {
    const { circuit, pause } = circuits.of(id).health;
    return circuit.state === 'closed' && circuit.failing === null && pause === null && lags.size + queue.size + book.size(id) === 0;
  }

  const isUnread = (applicationId: string) =>
    [...lanes.values()].some(({ pending }) => pending.some((event) => event.applicationId === applicationId));
  const isStill = (applicationId: string) => !isUnread(applicationId) && !channelsOf(applicationId).some(isBusy);

  async function of(applicationId: string, signal: AbortSignal): Promise<number | null> {
    const until = options.monotonicMs() + REST_MAX_MS;
    stirs.set(applicationId, stirs.get(applicationId) ?? 0);
    // Once: what happens after that is read by the heartbeat.
    await options.read();
    for (;;) {
      signal.throwIfAborted();
      const before = stirs.get(applicationId);
      if (isStill(applicationId)) {
        if (!options.others() && channelsOf(applicationId).every(isWell)) return null;
        await options.beat();
        const next = await look(applicationId);
        // What has come meanwhile may be newer than what was read.
        if (next !== 'now' && stirs.get(applicationId) === before && isStill(applicationId)) return next;
      }
      if (options.stopped() || options.monotonicMs() > until) throw new Restless('deliveries did not come to rest');
      if (stirs.get(applicationId) === before) await stirred();
    }
  }

  /** By what is written, so for the lanes of all nodes. */
  async function look(applicationId: string): Promise<number | null | 'now'> {
    const parked = await storage.all<{ endpoint_id: string; due_at: number | null }>(
      sql`select p.endpoint_id, min(p.due_at) as due_at from parked p join endpoints e on e.id = p.endpoint_id
          where e.application_id = ${applicationId} and p.state <> 'dead' and p.replay_id = '' group by p.endpoint_id`,
    );
    const elsewhere = options.others() ? await readElsewhere(applicationId) : { unsettled: false, behind: new Set<string>() };
    if (elsewhere.unsettled) return 'now';
    const dueAt = new Map(parked.map((row) => [row.endpoint_id, row.due_at]));
    const moments: number[] = [];
    for (const channel of channelsOf(applicationId)) {
      const { id } = channel.endpoint;
      if (!channel.enabled) continue;
      const behind = isBehind(channel) || elsewhere.behind.has(id);
      const at = standing(circuits.of(id).health, clock.now());
      const waits = behind || dueAt.has(id) || channel.queue.size > 0;
      if (at.kind === 'open' && waits) moments.push(at.nextProbeAt);
      else if (at.kind === 'paused' && waits) moments.push(at.until);
      else if (at.kind === 'clear' || at.kind === 'recovering') {
        moments.push(dueAt.get(id) ?? Number.POSITIVE_INFINITY);
        if (elsewhere.behind.has(id)) return 'now';
      }
    }
    const next = Math.min(...moments);
    if (next <= clock.now()) return 'now';
    return Number.isFinite(next) ? next : null;
  }

  /** Of the lanes that other nodes have: whether events are not settled, and which endpoints lag there. */
  async function readElsewhere(applicationId: string): Promise<{ unsettled: boolean; behind: Set<string> }> {
    const ours = sqlList([-1, ...lanes.keys()]);
    const [open, lagging] = await Promise.all([
      storage.first(
        sql`select l.lane from lane_leases l where l.lane not in ${ours}
              and exists (select 1 from events e where e.application_id = ${applicationId} and e.lane = l.lane and e.seq > l.settled) limit 1`,
      ),
      storage.all<{ endpoint_id: string }>(
        sql`select p.endpoint_id from endpoint_positions p join endpoints e on e.id = p.endpoint_id
            where e.application_id = ${applicationId} and p.lane not in ${ours}`,
      ),
    ]);
    return { unsettled: open !== undefined, behind: new Set(lagging.map((row) => row.endpoint_id)) };
  }

  function stirred(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, LOOK_AGAIN_MS);
      waiting.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  return {
    of,
    stir(applicationId) {
      const count = stirs.get(applicationId);
      if (count === undefined) return;
      stirs.set(applicationId, count + 1);
      // The queue lets go of a job when its outcome has been dealt with.
      queueMicrotask(() => {
        const woken = waiting;
        waiting = [];
        for (const wake of woken) wake();
      });
    },
  };
}

/**
 * The application's clock goes from `from` to `from + byMs`: its parked deliveries, pauses and probes come nearer by as much.
 * A probe counts the distinct hours in which it failed; those are the hours of the application's day.
 */
export async function bringDeliveriesNearer(
  tx: Writer,
  applicationId: string,
  { from, byMs }: { from: number; byMs: number },
): Promise<void> {
  const endpoints = sql`(select id from endpoints where application_id = ${applicationId})`;
  const hours = Math.floor((from + byMs) / HOUR_MS) - Math.floor(from / HOUR_MS);
  await Promise.all([
    tx.run(sql`update parked set due_at = due_at - ${byMs} where due_at is not null and replay_id = '' and endpoint_id in ${endpoints}`),
    tx.run(sql`
      update endpoint_health set revision = revision + 1, failing_since = failing_since - ${byMs}, next_probe_at = next_probe_at - ${byMs},
        last_probe_hour = last_probe_hour - ${hours}, last_failure_at = last_failure_at - ${byMs},
        paused_until = paused_until - ${byMs}, paused_since = paused_since - ${byMs}
      where (circuit <> 'closed' or paused_until is not null) and endpoint_id in ${endpoints}`),
  ]);
}
