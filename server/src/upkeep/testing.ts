/** For tests of the log's upkeep: an application with events by the real log, and endpoints as rows. */
import { appendEvents, takeTimestamps } from '../events/append.ts';
import { LANES, type LoggedEvent, laneOf, readLane } from '../events/log.ts';
import { type Sql, sql } from '../storage/sql.ts';
import type { Reader, Storage } from '../storage/storage.ts';
import type { Turns } from './batches.ts';

/** Nobody else waits, and nothing stops it. */
export const TURNS: Turns = { pause: async () => {}, mayGoOn: () => true };

export const APPLICATION = 'app_log';
const USER = '766b2f5d-a942-492c-9ea7-2e5aa88cb672';

export async function createApplication(storage: Storage, id = APPLICATION): Promise<void> {
  await storage.transaction(async (tx) => {
    await tx.run(
      sql`insert into applications (id, name, environment, client_id, client_secret_digest, created_at) values (${id}, 'a', 'sandbox', ${id}, 'd', 0)`,
    );
    await tx.run(sql`insert into users (uuid, application_id, created_at) values (${USER + id}, ${id}, 0)`);
  });
}

/** One `item.created` for each item id, in one transaction. */
export async function append(storage: Storage, itemIds: readonly number[], committedAt: number, id = APPLICATION): Promise<void> {
  await storage.transaction(async (tx) => {
    const stamps = await takeTimestamps(tx, USER + id, 1_000, itemIds.length);
    const events = itemIds.map((itemId, index) => ({
      draft: { type: 'item.created' as const, itemId, userUuid: USER + id },
      timestamp: stamps[index]!,
    }));
    await appendEvents(tx, { applicationId: id, refreshId: null, committedAt }, events);
  });
}

export async function everything(reader: Reader): Promise<LoggedEvent[]> {
  return (await Promise.all(Array.from({ length: LANES }, (_, lane) => readLane(reader, lane, 0, 100_000)))).flat();
}

export const laneOfItem = (itemId: number): number => laneOf(`item:${itemId}`);

/** As delivery has it when everything was sent. */
export async function settleAll(storage: Storage): Promise<void> {
  await storage.transaction((tx) =>
    tx.run(sql`update lane_leases set settled = (select h.head from lane_heads h where h.lane = lane_leases.lane)`),
  );
}

/** Matches `item.created` from the beginning of the log. */
export async function endpoint(storage: Storage, id: string, applicationId = APPLICATION): Promise<void> {
  const from = JSON.stringify(Array.from({ length: LANES }, () => 0));
  await storage.transaction(async (tx) => {
    await tx.run(
      sql`insert into endpoints (id, application_id, name, url, events, data_key_id, created_at, updated_at)
          values (${id}, ${applicationId}, 'W', 'https://x.example/h', '["item.created"]', 'k', 0, 0)`,
    );
    await tx.run(
      sql`insert into endpoint_versions (endpoint_id, version, application_id, events, matching, from_positions, created_at)
          values (${id}, 1, ${applicationId}, '["item.created"]', 1, ${from}, 0)`,
    );
  });
}

/** Writes an attempt that succeeded. */
export async function deliver(storage: Storage, events: readonly LoggedEvent[], endpointId: string, source = 'live'): Promise<void> {
  await storage.transaction((tx) =>
    tx.insertMany(
      'attempts',
      ['segment', 'lane', 'seq', 'endpoint_id', 'source', 'n', 'at', 'delivered', 'status', 'duration_ms', 'type'],
      events.map(({ segment, lane, seq, type, committedAt }) => [segment, lane, seq, endpointId, source, 1, committedAt, 1, 200, 1, type]),
    ),
  );
}

export async function park(storage: Storage, { lane, seq, type }: LoggedEvent, endpointId: string, state: string): Promise<void> {
  await storage.transaction((tx) =>
    tx.run(
      sql`insert into parked (endpoint_id, lane, seq, type, state, attempts, parked_at) values (${endpointId}, ${lane}, ${seq}, ${type}, ${state}, 1, 0)`,
    ),
  );
}

/** Keeps the statements that go through it, to be explained. */
export function listen(storage: Storage): { reader: Reader; statements: Sql[] } {
  const statements: Sql[] = [];
  const heard = <T>(query: Sql, answer: T): T => {
    statements.push(query);
    return answer;
  };
  return {
    statements,
    reader: { all: (query) => heard(query, storage.all(query)), first: (query) => heard(query, storage.first(query)) },
  };
}

/** The plan as text, of the engine's own words. */
export async function explain(storage: Storage, query: Sql): Promise<string> {
  const rows = await storage.all<Record<string, unknown>>(
    storage.engine === 'postgres' ? sql`explain (costs off) ${query}` : sql`explain query plan ${query}`,
  );
  return rows.map((row) => String(row['QUERY PLAN'] ?? row.detail)).join('\n');
}
