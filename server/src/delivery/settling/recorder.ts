/** The one way in which a delivery comes to rest: what waited for it goes on, and its rows follow with the next flush. */
import { LANES } from '../../events/log.ts';
import type { Book } from '../channels/book.ts';
import type { Channel, Channels } from '../channels/channels.ts';
import type { Due } from '../channels/due.ts';
import type { Withdrawn } from '../channels/withdrawn.ts';
import type { Job, Result } from '../job.ts';
import { close } from '../lanes/lagging.ts';
import type { Lane } from '../lanes/lane.ts';
import type { Settler } from './settler.ts';

export type Recorder = {
  record(result: Result): void;
  /** Nothing more becomes of it: its endpoint or its event is gone. */
  drop(job: Job, endpointId: string): void;
  /** Parked without an attempt and without a time: an older one of its item comes first. */
  wait(job: Job, endpointId: string): void;
  /** A job that its queue would have started, had not an older one of its item been parked, or it been withdrawn. */
  held(channel: Channel, job: Job): void;
  /** The oldest of its item, where nobody sends it now, is due. */
  releaseHead(lane: Lane, endpointId: string, itemId: number): void;
  /** Looks again whether too much is parked for the channel. */
  count(channel: Channel): void;
};

export function createRecorder(options: {
  lanes: ReadonlyMap<number, Lane>;
  channels: Channels;
  book: Book;
  settler: Settler;
  withdrawn: () => Pick<Withdrawn, 'has' | 'settle'>;
  /** For one endpoint, on a node that has all lanes. */
  parkedMax: number;
  due: () => Due;
  /** The channel may read again. */
  onRelief: (channel: Channel) => void;
}): Recorder {
  const { lanes, channels, book, settler } = options;

  function record(given: Result) {
    const result = options.withdrawn().settle(given);
    const { job, endpointId, park } = result;
    const { lane, event } = job;
    if (lane.lost) return;
    if (!job.parked) close(job);
    const row = { lane: lane.number, endpointId, itemId: event.itemId, seq: event.seq };
    if (park !== null && park.state !== 'dead') book.add(row);
    else if (job.parked) {
      book.remove(row);
      if (event.itemId !== null) releaseHead(lane, endpointId, event.itemId);
    }
    settler.add(result);
    const channel = channels.get(endpointId);
    if (channel) count(channel);
  }

  function releaseHead(lane: Lane, endpointId: string, itemId: number) {
    const seq = book.head(lane.number, endpointId, itemId);
    if (seq === undefined || channels.get(endpointId)?.claims.has(`${lane.number}/${seq}`)) return;
    settler.release({ lane, endpointId, seq });
  }

  /** A node has its share of what may be parked: as much as it has of the lanes. */
  function count(channel: Channel) {
    const size = book.size(channel.endpoint.id);
    const most = (options.parkedMax * lanes.size) / LANES;
    if (size > most) channel.crowded = true;
    else if (channel.crowded && size < most / 2) {
      channel.crowded = false;
      options.onRelief(channel);
    }
  }

  const wait = (job: Job, endpointId: string) =>
    record({ job, endpointId, outcome: null, park: { state: 'waiting', attempts: job.attempts, dueAt: null } });

  return {
    record,
    drop: (job, endpointId) => record({ job, endpointId, outcome: null, park: null }),
    wait,
    held(channel, job) {
      const endpointId = channel.endpoint.id;
      const { lane, event } = job;
      if (options.withdrawn().has(event)) {
        if (job.replay) job.replay.drop();
        else record({ job, endpointId, outcome: null, park: null });
      } else if (job.parked) options.due().unclaim(channel, [job]);
      // A position that was cut short has it read again, after a crash.
      else if (book.has({ lane: lane.number, endpointId, itemId: event.itemId, seq: event.seq })) close(job);
      else wait(job, endpointId);
    },
    releaseHead,
    count,
  };
}
