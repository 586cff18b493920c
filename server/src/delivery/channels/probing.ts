/**
 * While a circuit is open, one request now and then finds out whether the receiver is back: with the parked event that was
 * sent least often, or with the next one at the endpoint's position. No probe is like the one before where there is another
 * event: one that this receiver refuses for what it is would keep a receiver that is well in the dark, as a probe costs no
 * attempt. Where there is no other, its failure is the event's own attempt once that is due. An endpoint that is owed nothing but a
 * replay is probed with the replay's next event.
 */
import type { Clock } from '../../base/clock.ts';
import { type LoggedEvent, readEvents } from '../../events/log.ts';
import type { Storage } from '../../storage/storage.ts';
import type { Job } from '../job.ts';
import { isWanted } from '../lanes/lagging.ts';
import type { Lag, Lane } from '../lanes/lane.ts';
import { type ParkedRow, type RunnableRow, readLeastSent, readStretch } from '../lanes/reader.ts';
import type { Replays } from '../replay/engine.ts';
import type { Recorder } from '../settling/recorder.ts';
import type { Settler } from '../settling/settler.ts';
import type { Book } from './book.ts';
import type { Channel, Channels } from './channels.ts';
import type { Circuits } from './circuits.ts';
import { missing } from './due.ts';
import { claimProbe } from './health.ts';

/** Events read at once in search of one that the endpoint wants, and reads for one probe; the next one goes on from there. */
const READ_LIMIT = 100;
const READS_MAX = 5;
/** Parked events that probes can take turns with: with fewer, they park another. An outage of days must not park more and more. */
const VARIETY = 10;

export type Probing = {
  /** Sends the probe if one is due. Single-flight for each channel. Never rejects. */
  check(channel: Channel): Promise<void>;
};

export function createProbing(options: {
  storage: Storage;
  clock: Clock;
  monotonicMs: () => number;
  lanes: ReadonlyMap<number, Lane>;
  channels: Channels;
  book: Book;
  circuits: Circuits;
  maySend: () => boolean;
  isWithdrawn: (event: LoggedEvent) => boolean;
  settler: Settler;
  recorder: Recorder;
  replays: () => Pick<Replays, 'probe'>;
  onTrouble: (error: unknown) => void;
}): Probing {
  const { storage, clock, lanes, channels, circuits } = options;
  const running = new Set<Channel>();

  const isDue = (channel: Channel) =>
    channel.enabled && !channel.gone && options.maySend() && claimProbe(circuits.of(channel.endpoint.id).health, clock.now()) !== null;

  async function check(channel: Channel): Promise<void> {
    if (running.has(channel) || !isDue(channel) || channel.queue.underWay > 0) return;
    running.add(channel);
    try {
      await probe(channel);
    } catch (error) {
      options.onTrouble(error);
    } finally {
      running.delete(channel);
    }
  }

  async function probe(channel: Channel) {
    const { id } = channel.endpoint;
    let { releases } = channel;
    let row = await readLeastSent(storage, id, owned());
    // A node that has nothing to send leaves the probe to the others; an endpoint without events is not probed.
    const another = !row || wantsAnother(channel, row) ? await parkNext(channel) : 'unknown';
    if (another === 'parked') {
      releases = channel.releases;
      row = await readLeastSent(storage, id, owned());
    }
    if (!row) return options.replays().probe(channel, () => mayProbe(channel));
    const isLast = another === 'none' && turns(channel) === 1;
    const [event] = await readEvents(storage, row.lane, [row.seq]);
    const lane = lanes.get(row.lane);
    const key = `${row.lane}/${row.seq}`;
    if (!lane || lane.leavingSince !== null || channel.claims.has(key)) return;
    // An attempt was settled meanwhile, and the row may be from before it: sent again as if it had not been, it would take that one's number.
    if (channel.releases !== releases) return;
    channel.claims.add(key);
    if (!event || event.erased || options.isWithdrawn(event)) return options.recorder.drop(jobOf(lane, event ?? missing(row), row), id);
    const may = (await mayProbe(channel)) && !lane.lost && lane.leavingSince === null;
    if (may) channel.queue.probe({ ...jobOf(lane, event, row), ...(isLast ? { lastResortDueAt: row.due_at } : {}) });
    else channel.claims.delete(key);
  }

  /** The probe is this node's, and its channel is as it was. */
  async function mayProbe(channel: Channel): Promise<boolean> {
    const claimed = isDue(channel) && (await circuits.claimProbe(channel.endpoint.id).catch(() => false));
    return claimed && channel.enabled && !channel.gone && channel.queue.underWay === 0 && options.maySend();
  }

  /** All that is parked was sent before, and may be what the receiver refuses: it tries one that it has not seen. */
  function wantsAnother(channel: Channel, { sent }: RunnableRow): boolean {
    return sent > 0 && turns(channel) < VARIETY && circuits.of(channel.endpoint.id).health.circuit.state === 'open';
  }

  /** Parked events that can be tried: what waits behind another cannot. */
  const turns = ({ endpoint: { id, ordering } }: Channel) => (ordering === 'item' ? options.book.heads(id) : options.book.size(id));

  const owned = () => [...lanes.values()].filter(({ leavingSince }) => leavingSince === null).map(({ number }) => number);

  function jobOf(lane: Lane, event: LoggedEvent, { attempts, sent }: ParkedRow): Job {
    return { lane, event, source: 'probe', attempts, sent, parked: true, lag: null, queuedAt: options.monotonicMs() };
  }

  /** Lanes have their turns: one can be full of what waits behind a single event. */
  async function parkNext(channel: Channel): Promise<'parked' | 'none' | 'unknown'> {
    const mayHave = (lag: Lag) => !lag.following && !lag.lane.lost && lag.lane.leavingSince === null && lag.read < lag.lane.handed;
    let reads = 0;
    for (;;) {
      const lags = [...channel.lags.values()].filter(mayHave);
      if (lags.length === 0) return 'none';
      for (const lag of lags) {
        if (lag.reading || reads === READS_MAX) return 'unknown';
        if (!mayHave(lag)) continue;
        reads += 1;
        const event = await readNext(channel, lag);
        if (event && park(channel, lag, event)) {
          await options.settler.flush();
          return 'parked';
        }
      }
    }
  }

  /** Whether it may be sent. */
  function park(channel: Channel, lag: Lag, event: LoggedEvent): boolean {
    const source = event.endpointId === null ? 'live' : 'test';
    const queuedAt = options.monotonicMs();
    const job: Job = { lane: lag.lane, event, source, attempts: 0, sent: 0, parked: false, lag, queuedAt };
    const endpointId = channel.endpoint.id;
    const mayBeSent = !isBehindAnother(channel, event);
    if (!mayBeSent) options.recorder.wait(job, endpointId);
    else options.recorder.record({ job, endpointId, outcome: null, park: { state: 'retry', attempts: 0, dueAt: clock.now() } });
    return mayBeSent;
  }

  /** An older one of its item is parked, and order is kept. */
  function isBehindAnother({ endpoint }: Channel, { lane, itemId }: LoggedEvent): boolean {
    return endpoint.ordering === 'item' && itemId !== null && options.book.head(lane, endpoint.id, itemId) !== undefined;
  }

  /** Moves the lag over what the endpoint does not want, to the first event that it does. */
  async function readNext(channel: Channel, lag: Lag): Promise<LoggedEvent | null> {
    const { lane, read: afterSeq } = lag;
    const { id, applicationId } = channel.endpoint;
    const throughSeq = lane.handed;
    lag.reading = true;
    try {
      const { events } = await readStretch(storage, { applicationId, lane: lane.number, afterSeq, throughSeq, limit: READ_LIMIT });
      if (lag.read !== afterSeq || lag.following || lane.lost || channel.gone) return null;
      const found = events.find((event) => !event.erased && isWanted(lag, event.seq) && channels.match(event).includes(id)) ?? null;
      lag.read = found?.seq ?? (events.length < READ_LIMIT ? throughSeq : events.at(-1)!.seq);
      if (found) lag.owed.add(found.seq);
      lane.changed.add(lag);
      return found;
    } finally {
      lag.reading = false;
    }
  }

  return { check };
}
