/**
 * The other story: kill -9 at random moments of banks being connected and refreshed and told of, or of a test clock that goes
 * forward over weeks. Started again, no event is lost, none is made twice, and the counts are the rows.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { verify } from '@pontage/sdk';
import { createApplication } from '../../src/access/applications.ts';
import { readConfig } from '../../src/config.ts';
import { createEndpoint } from '../../src/endpoints/endpoints.ts';
import { EVENT_TYPES } from '../../src/events/catalogue.ts';
import { LANES, type LoggedEvent, readLane } from '../../src/events/log.ts';
import { connectItem } from '../../src/refresh/connection.ts';
import { openServices, type Services } from '../../src/services.ts';
import { sql } from '../../src/storage/sql.ts';
import type { Engine } from '../support/engines.ts';
import { freshDatabase, startPostgres } from '../support/postgres.ts';
import { type Node, startNode } from './nodes.ts';

/** Each so many a kill comes in the midst of an advance. */
const WALKS_APART = 3;
/** After the server is ready: from before its first step until its refreshes and deliveries are mostly done. Each fifth kill comes while it starts. */
const LATEST_KILL_MS = 700;
/** A machine under load; the wait ends as soon as everything is settled. */
const QUIET_WITHIN_MS = 60_000;
const DEMO_BANK = 574;
const BANK_LATENCY_MS = 4;
const HALF_DAY_MS = 12.6 * 3_600_000;

/** `ahead`: refreshes that advances had written before they were killed. */
export type RefreshStoryResult = { events: number; repeats: number; rows: number; ahead: number };

/** Throws what is wrong. */
export async function playRefreshStory(engine: Engine, kills: number, random: () => number): Promise<RefreshStoryResult> {
  const folder = mkdtempSync(join(tmpdir(), 'pontage-crash-'));
  const postgres = engine === 'postgres' ? await startPostgres() : null;
  const receiver = await startReceiver();
  let services: Services | null = null;
  let server: Node | null = null;
  try {
    const environment = environmentOf(folder, postgres ? await freshDatabase(postgres.url) : null);
    services = await openBeside(environment);
    const { applicationId, userUuid, clientId, clientSecret } = await seed(services, receiver);
    const items: number[] = [];

    for (let kill = 0; kill < kills; kill += 1) {
      const doomed = startNode(environment, BANK_LATENCY_MS);
      server = doomed;
      const walks = kill % WALKS_APART === WALKS_APART - 1;
      const url = walks || kill % 5 !== 4 ? await doomed.ready : null;
      if (walks) await beginAdvance(services, applicationId, () => advance(url!, { clientId, clientSecret }));
      const killed = new Promise<void>((resolve, reject) => {
        setTimeout(() => doomed.kill().then(resolve, reject), random() * LATEST_KILL_MS);
      });
      if (!walks) {
        items.push(await pressAddYourAccount(services, applicationId, userUuid));
        await passHalfADay(services, applicationId);
      }
      await killed;
      await passTheMoversMinute(services);
    }

    server = startNode(environment, BANK_LATENCY_MS);
    await server.ready;
    await quiet(services);
    assert.equal(await server.stop(), 0);

    const events = await allEvents(services);
    assert.deepEqual(receiver.problems, []);
    assert.deepEqual(
      events.filter(({ id }) => !receiver.received.has(id)).map(({ id, type }) => `${type} ${id}`),
      [],
      'lost',
    );
    assert.equal(
      new Set(events.map(({ type, content, timestamp }) => `${type}${content}${timestamp}`)).size,
      events.length,
      'equal bodies',
    );
    assert.deepEqual(
      items.map((item) => events.filter(({ itemId, type }) => itemId === item && type === 'item.created').length),
      items.map(() => 1),
    );
    await refreshesSaidOnce(services, events);
    const rows = await countsAreRows(services, events);
    const repeats = [...receiver.received.values()].reduce((sum, times) => sum + times - 1, 0);
    return { events: events.length, repeats, rows, ahead: await countAhead(services) };
  } finally {
    server?.process.kill('SIGKILL');
    receiver.stop();
    await services?.storage.close();
    await postgres?.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

function environmentOf(folder: string, databaseUrl: string | null): Record<string, string> {
  return {
    PONTAGE_DATA_DIR: folder,
    PONTAGE_PORT: '0',
    PONTAGE_LOG_LEVEL: 'silent',
    PONTAGE_SECRET_KEY: 'Vq3x9ZrT5mK8wY2nB7cD4fG6hJ1kL0pQ',
    ...(databaseUrl === null ? {} : { DATABASE_URL: databaseUrl }),
  };
}

/** The same database from a process of its own, as the command line has it beside a server. */
async function openBeside(environment: Record<string, string>): Promise<Services> {
  const read = readConfig(environment, 'development');
  assert.ok(read.ok);
  return openServices(read.config, 'always');
}

type Receiver = { url: string; secret: string; received: Map<string, number>; problems: string[]; stop(): void };

async function startReceiver(): Promise<Receiver> {
  const receiver: Receiver = { url: '', secret: '', received: new Map(), problems: [], stop: () => {} };
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      try {
        verify(Buffer.concat(chunks), request.headers, receiver.secret);
        const id = String(request.headers['webhook-id']);
        receiver.received.set(id, (receiver.received.get(id) ?? 0) + 1);
      } catch (error) {
        receiver.problems.push(String(error));
      }
      response.end();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  receiver.stop = () => {
    server.closeAllConnections();
    server.close();
  };
  receiver.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  return receiver;
}

type Seeded = { applicationId: string; userUuid: string; clientId: string; clientSecret: string };

async function seed({ storage, vault, policy, clock }: Services, receiver: Receiver): Promise<Seeded> {
  const now = clock.now();
  const { id, clientId, clientSecret } = await storage.transaction((tx) =>
    createApplication(tx, { name: 'crash', environment: 'sandbox', redirectUrl: null }, now),
  );
  const userUuid = '766b2f5d-a942-492c-9ea7-2e5aa88cb672';
  await storage.transaction((tx) => tx.run(sql`insert into users (uuid, application_id, created_at) values (${userUuid}, ${id}, ${now})`));
  const created = await createEndpoint(
    { storage, vault, now },
    id,
    { name: 'receiver', url: receiver.url, events: [...EVENT_TYPES] },
    policy,
  );
  assert.ok('secret' in created);
  receiver.secret = created.secret;
  return { applicationId: id, userUuid, clientId, clientSecret };
}

async function pressAddYourAccount(services: Services, applicationId: string, userUuid: string): Promise<number> {
  const sessionId = crypto.randomUUID();
  const now = services.clock.now();
  await services.storage.transaction((tx) =>
    tx.run(sql`
      insert into connect_sessions (id, application_id, user_uuid, purpose, step, link_expires_at, created_at)
      values (${sessionId}, ${applicationId}, ${userUuid}, 'add', 'bank_creds_form', ${now + 1_000_000}, ${now})`),
  );
  const application = await services.storage.first<{ clock_offset_ms: number }>(
    sql`select clock_offset_ms from applications where id = ${applicationId}`,
  );
  const credentials = { USER: 'success', PWD: 'any' };
  const request = { sessionId, applicationId, userUuid, bankId: DEMO_BANK, credentials, clockOffsetMs: application!.clock_offset_ms };
  const connected = await connectItem(services, request);
  assert.ok(typeof connected === 'object');
  return connected.itemId;
}

/** Only moves the clock: what falls due is left to the server, however often it dies over it. */
async function passHalfADay(services: Services, applicationId: string): Promise<void> {
  await services.storage.transaction(async (tx) => {
    await tx.run(sql`update applications set clock_offset_ms = clock_offset_ms + ${HALF_DAY_MS} where id = ${applicationId}`);
    await tx.run(sql`update items set due_at = due_at - ${HALF_DAY_MS} where application_id = ${applicationId} and due_at is not null`);
  });
}

/** Resolves when the clock goes. */
async function beginAdvance({ storage }: Services, applicationId: string, advance: () => Promise<void>): Promise<void> {
  const ahead = () => storage.first<{ clock_offset_ms: number }>(sql`select clock_offset_ms from applications where id = ${applicationId}`);
  const before = (await ahead())!.clock_offset_ms;
  const deadline = Date.now() + QUIET_WITHIN_MS;
  const ended = advance();
  while ((await ahead())!.clock_offset_ms < before + HALF_DAY_MS) {
    if (Date.now() > deadline) throw new Error('the clock does not go');
    await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 5))]);
  }
}

/** Longer than it will live. */
async function advance(url: string, { clientId, clientSecret }: Pick<Seeded, 'clientId' | 'clientSecret'>): Promise<void> {
  const headers = { 'Client-Id': clientId, 'Client-Secret': clientSecret, 'Content-Type': 'application/json' };
  const asked = fetch(new URL('/api/v1/sandbox/clock', url), { method: 'POST', headers, body: JSON.stringify({ advance: '60d' }) });
  const answer = await asked.catch(() => null);
  assert.ok(answer === null || answer.ok, `${answer?.status}`);
}

/** A mover that died leaves the clock to the next after a minute. */
async function passTheMoversMinute({ storage }: Services): Promise<void> {
  await storage.transaction((tx) => tx.run(sql`update applications set clock_mover_until = 0`));
}

/** What was never claimed has no claim's end, but its own. */
async function countAhead({ storage }: Services): Promise<number> {
  const row = await storage.first<{ ahead: number }>(sql`
    select count(*) as ahead from refreshes
    where exists (select 1 from events where refresh_id = refreshes.id and committed_at = refreshes.run_at)`);
  return row!.ahead;
}

/** Until every refresh has ended and every lane is settled, with nothing parked and nobody behind. */
async function quiet({ storage }: Services): Promise<void> {
  const deadline = Date.now() + QUIET_WITHIN_MS;
  for (;;) {
    const open = await storage.first<{ refreshes: number; unsettled: number; parked: number; behind: number }>(sql`
      select (select count(*) from refreshes where finished_at is null) as refreshes,
        (select count(*) from lane_heads h join lane_leases l on l.lane = h.lane where l.settled < h.head) as unsettled,
        (select count(*) from parked) as parked, (select count(*) from endpoint_positions) as behind`);
    if (open && open.refreshes + open.unsettled + open.parked + open.behind === 0) return;
    if (Date.now() > deadline) throw new Error(`still open: ${JSON.stringify(open)}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

async function allEvents({ storage }: Services): Promise<LoggedEvent[]> {
  const lanes = await Promise.all(Array.from({ length: LANES }, (_, lane) => readLane(storage, lane, 0, 1_000_000)));
  for (const lane of lanes)
    assert.deepEqual(
      lane.map(({ seq }) => seq),
      lane.map((_, index) => index + 1),
    );
  return lanes.flat();
}

async function refreshesSaidOnce({ storage }: Services, events: readonly LoggedEvent[]): Promise<void> {
  const finished = await storage.all<{ id: string }>(sql`select id from refreshes where finished_at is not null`);
  const said = events.filter(({ type }) => type === 'item.refreshed').map(({ refreshId }) => refreshId!);
  assert.deepEqual(said.toSorted(), finished.map(({ id }) => id).toSorted());
}

/**
 * Created rows of all events are all rows there are, and each count of an account is that of its reasons: no refresh was
 * applied half or twice.
 */
async function countsAreRows({ storage }: Services, events: readonly LoggedEvent[]): Promise<number> {
  const told = new Map<number, number>();
  const counted = new Map<string, number>();
  const count = (accountId: number, kind: string, rows: number) => {
    const key = `${accountId} ${kind}`;
    if (rows > 0) counted.set(key, (counted.get(key) ?? 0) + rows);
  };
  for (const { type, content, accountId } of events) {
    if (type !== 'item.account.updated') continue;
    const { nb_new_transactions, nb_updated_transactions, nb_deleted_transactions } = JSON.parse(content) as Record<string, number>;
    told.set(accountId!, (told.get(accountId!) ?? 0) + nb_new_transactions!);
    count(accountId!, 'new', nb_new_transactions!);
    count(accountId!, 'updated', nb_updated_transactions!);
    count(accountId!, 'deleted', nb_deleted_transactions!);
  }
  const reasons = await storage.all<{ account_id: number; kind: string; rows: number }>(sql`
    select account_id, case when kind = 'resurrected' then 'updated' else kind end as kind, count(*) as rows from changes group by 1, 2`);
  assert.deepEqual(new Map(reasons.map(({ account_id, kind, rows }) => [`${account_id} ${kind}`, Number(rows)])), counted);
  const rows = await storage.all<{ account_id: number; rows: number }>(
    sql`select account_id, count(*) as rows from transactions group by account_id order by account_id`,
  );
  assert.ok(rows.length > 0);
  assert.deepEqual(
    rows.map(({ account_id, rows }) => [account_id, rows]),
    rows.map(({ account_id }) => [account_id, told.get(account_id) ?? 0]),
  );
  return rows.reduce((sum, { rows }) => sum + rows, 0);
}
