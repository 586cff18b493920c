/** How far replays are: counts that each of their lanes keeps, and what waits for another attempt. */
import { sql, sqlList } from '../../storage/sql.ts';
import type { Reader } from '../../storage/storage.ts';
import type { Replay } from './replays.ts';

/** `sent` counts events, not attempts; `failed` those that were given up again. */
export type Progress = { sent: number; delivered: number; failed: number; retrying: number };
/** 64 rows each, and where it is open up to some 1,000 of the index: a few ms of the main thread on SQLite. */
const REPLAYS_PER_STATEMENT = 20;

type Counted = { replay_id: string; sent: number; delivered: number; failed: number };

/** By the replays' ids. */
export async function progressOfAll(reader: Reader, replays: readonly Pick<Replay, 'id' | 'state'>[]): Promise<Map<string, Progress>> {
  const progress = new Map<string, Progress>(replays.map(({ id }) => [id, { sent: 0, delivered: 0, failed: 0, retrying: 0 }]));
  for (let from = 0; from < replays.length; from += REPLAYS_PER_STATEMENT) {
    const some = replays.slice(from, from + REPLAYS_PER_STATEMENT);
    // Requests and deliveries have their turn.
    if (from > 0) await new Promise(setImmediate);
    for (const { replay_id: id, ...counted } of await countPositions(reader, some)) Object.assign(progress.get(id)!, counted);
    // One that has ended has left nothing to try again.
    const open = some.filter(({ state }) => state === 'running' || state === 'paused');
    for (const { replay_id: id, retrying } of await countRetries(reader, open)) progress.get(id)!.retrying = retrying;
  }
  return progress;
}

export async function progressOf(reader: Reader, replay: Pick<Replay, 'id' | 'state'>): Promise<Progress> {
  return (await progressOfAll(reader, [replay])).get(replay.id)!;
}

function countPositions(reader: Reader, replays: readonly { id: string }[]): Promise<Counted[]> {
  return reader.all<Counted>(
    sql`select replay_id, cast(sum(sent) as bigint) as sent, cast(sum(delivered) as bigint) as delivered, cast(sum(failed) as bigint) as failed
        from replay_positions where replay_id in ${sqlList(replays.map(({ id }) => id))} group by replay_id`,
  );
}

async function countRetries(reader: Reader, replays: readonly { id: string }[]): Promise<{ replay_id: string; retrying: number }[]> {
  if (replays.length === 0) return [];
  return reader.all(
    sql`select replay_id, count(*) as retrying from parked
        where replay_id in ${sqlList(replays.map(({ id }) => id))} and state = 'retry' and replay_id <> '' group by replay_id`,
  );
}
