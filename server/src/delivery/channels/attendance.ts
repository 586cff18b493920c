/** Keeps channels in line with their settings, their gates and the time, and with the lanes that come and go. */

import type { Job } from '../job.ts';
import { fallBehind, forget, skipThrough } from '../lanes/lagging.ts';
import type { Lane } from '../lanes/lane.ts';
import type { Recorder } from '../settling/recorder.ts';
import type { Settler } from '../settling/settler.ts';
import type { Book } from './book.ts';
import type { Channel, Channels } from './channels.ts';
import type { Circuits } from './circuits.ts';
import type { Due } from './due.ts';
import type { Probing } from './probing.ts';

/** A delivery that is queued or under way for longer no longer holds its lane back: its endpoint lags there. */
export const LIVE_MAX_MS = 2_000;

export type Attendance = {
  /** Looks at the channel's gate and at the age of what it has. To be called by whatever turns a gate, and by each heartbeat. */
  tend(channel: Channel): void;
  /** Nothing waits in its queue any more: it lags where it has something to come, and its retries wait too. */
  letGo(channel: Channel): void;
  /** Loads what was changed of the endpoints. */
  reload(): Promise<void>;
  /** A lane is here, with these parked rows that wait behind nothing and have no time yet. */
  taken(lane: Lane, stranded: readonly { endpointId: string; seq: number }[]): void;
  /** Nothing more of the lane is sent. */
  leaving(lane: Lane): void;
  /** The lane is another node's: what is under way in it is broken off. */
  lost(lane: Lane): void;
};

export function createAttendance(options: {
  lanes: ReadonlyMap<number, Lane>;
  channels: Channels;
  book: Book;
  circuits: Circuits;
  probing: Probing;
  settler: Settler;
  recorder: Recorder;
  due: Due;
  monotonicMs: () => number;
  /** The channel may have something to read. */
  want: (channel: Channel) => void;
}): Attendance {
  const { lanes, channels, book, settler, recorder, due } = options;

  /** Those of the channel's jobs that have not been parked. */
  function lanesOf({ queue }: Channel, which: (job: Job) => boolean = () => true): Set<Lane> {
    const found = new Set<Lane>();
    for (const job of queue.jobs()) if (!job.parked && !job.lane.lost && which(job)) found.add(job.lane);
    return found;
  }

  /** One that answers again is well when it has drained what it missed, or as soon as nothing holds the drain back any more. */
  function heal(channel: Channel) {
    const drained = channel.queue.size + channel.queue.underWay + channel.lags.size === 0;
    if (drained || !channel.gate.isRamping()) options.circuits.recover(channel.endpoint.id);
  }

  /**
   * It was opened, and the lanes are here: a server has started, mostly. What it is owed from before is a backlog like that of
   * an outage, whether nothing ran meanwhile, or it was off and has been enabled without a server.
   */
  function begin(channel: Channel) {
    channel.begun = true;
    const lags = [...channel.lags.values()].some(({ following }) => !following);
    if (lags || book.size(channel.endpoint.id) > channel.gate.concurrency()) channel.gate.beginRamp();
  }

  function tend(channel: Channel) {
    channel.gate.adjust();
    if (!channel.begun && lanes.size > 0) begin(channel);
    if (channel.gate.isRecovering()) heal(channel);
    if (channel.gate.isOpen()) void options.probing.check(channel);
    const rests = channel.gate.mustLag();
    if (channel.queue.size + channel.queue.underWay > 0) {
      if (rests) letGo(channel);
      const before = options.monotonicMs() - LIVE_MAX_MS;
      for (const lane of lanesOf(channel, (job) => job.lag === null && job.queuedAt <= before)) fallBehind(channel, lane);
    }
    const sends = !rests && channel.gate.maySend();
    if (sends && !channel.sends) due.note(0);
    channel.sends = sends;
    options.want(channel);
  }

  function letGo(channel: Channel) {
    const { queue } = channel;
    for (const lane of lanesOf(channel)) fallBehind(channel, lane, { drop: true });
    const parked = queue.take(() => true).filter((job) => job.parked && !job.lane.lost);
    due.unclaim(channel, parked);
    // One that waited behind an older one may be its item's oldest by now, and has no time of its own.
    for (const { lane, event } of parked) if (event.itemId !== null) recorder.releaseHead(lane, channel.endpoint.id, event.itemId);
  }

  function remove(channel: Channel) {
    for (const lane of lanesOf(channel)) fallBehind(channel, lane);
    forget(channel);
    for (const job of channel.queue.take(() => true)) recorder.drop(job, channel.endpoint.id);
    book.forgetEndpoint(channel.endpoint.id);
    options.circuits.forget(channel.endpoint.id);
  }

  /** Its owner wants nothing of what came before it was enabled. */
  function skip(channel: Channel, among: Iterable<Lane>) {
    const { id, skipThrough: positions } = channel.endpoint;
    if (!positions) return;
    for (const lane of among) {
      const through = positions[lane.number] ?? 0;
      // What is due may wait here behind a rate for long: only what is under way ends as it ends.
      const queued = channel.queue.take((job) => job.parked && !job.replay && job.lane === lane && job.event.seq <= through);
      due.unclaim(channel, queued);
      const waiting = book.upTo(lane.number, id, through).filter(({ seq }) => !channel.claims.has(`${lane.number}/${seq}`));
      for (const row of waiting) book.remove(row);
      const parked = waiting.map(({ seq }) => seq);
      skipThrough(channel, lane, through, parked);
      for (const itemId of new Set(waiting.map((row) => row.itemId))) if (itemId !== null) recorder.releaseHead(lane, id, itemId);
    }
    recorder.count(channel);
  }

  function letGoOf(lane: Lane) {
    due.forgetLane(lane);
    for (const channel of channels.all()) channel.queue.take((job) => job.lane === lane);
  }

  return {
    tend,
    letGo,
    async reload() {
      const { enabled, removed, unordered, skipping } = await channels.reload();
      for (const channel of removed) remove(channel);
      for (const channel of unordered) settler.revive(channel.endpoint.id);
      for (const channel of skipping) skip(channel, lanes.values());
      for (const channel of channels.all()) tend(channel);
      if (enabled.length + unordered.length + skipping.length > 0) due.note(0);
    },
    taken(lane, stranded) {
      for (const place of stranded) settler.release({ lane, ...place });
      for (const channel of channels.all()) {
        skip(channel, [lane]);
        recorder.count(channel);
      }
      due.doubt();
    },
    leaving: letGoOf,
    lost(lane) {
      letGoOf(lane);
      for (const { sendings } of channels.all()) {
        for (const [job, sending] of [...sendings]) if (job.lane === lane) sending.abort();
      }
    },
  };
}
