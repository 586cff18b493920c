/** kill -9 at random moments of banks being connected, refreshed and told of; started again, no event is lost and none is made twice. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { verify } from '@pontage/sdk';
import { createApplication } from '../../src/access/applications.ts';
import { readConfig } from '../../src/config.ts';
import { createEndpoint } from '../../src/endpoints/endpoints.ts';
import { EVENT_TYPES } from '../../src/events/catalogue.ts';
import { LANES, type LoggedEvent, readLane } from '../../src/events/log.ts';
import { connectItem } from '../../src/refresh/connection.ts';
import { openServices, type Services } from '../../src/services.ts';
import { sql } from '../../src/storage/sql.ts';
import { ENGINES, type Engine, freshTarget } from '../support/engines.ts';

const KILLS = 20;
/** After the server is ready: from before its first step until its refreshes and deliveries are mostly done. Each fifth kill comes while it starts. */
const LATEST_KILL_MS = 700;
/** A machine under load; the wait ends as soon as everything is settled. */
const QUIET_WITHIN_MS = 60_000;
const DEMO_BANK = 574;
const BANK_LATENCY_MS = 4;
const HALF_DAY_MS = 12.6 * 3_600_000;
const NODE = new URL('./node.ts', import.meta.url).pathname;

for (const engine of ENGINES) {
  test(`${KILLS} kills at random moments lose nothing on ${engine}`, { timeout: 280_000 }, async (t) => {
    const environment = await environmentOf(engine, t);
    const services = await openBeside(environment, t);
    const receiver = await startReceiver(t);
    const { applicationId, userUuid } = await seed(services, receiver);
    const random = mulberry(20_260_302);
    const items: number[] = [];

    for (let kill = 0; kill < KILLS; kill += 1) {
      const server = spawnServer(environment);
      const killed = once(server, 'exit');
      if (kill % 5 !== 4) await once(server.stdout!, 'data');
      const timer = setTimeout(() => server.kill('SIGKILL'), random() * LATEST_KILL_MS);
      items.push(await pressAddYourAccount(services, applicationId, userUuid));
      await passHalfADay(services, applicationId);
      const [, signal] = await killed;
      clearTimeout(timer);
      assert.equal(signal, 'SIGKILL', 'the server must not have ended by itself');
    }

    const server = spawnServer(environment);
    await quiet(services);
    server.kill('SIGTERM');
    await once(server, 'exit');

    const events = await allEvents(services);
    assert.equal(receiver.problems.length, 0, receiver.problems.join('\n'));
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
    await countsAreRows(services, events);
    const attempts = [...receiver.received.values()].reduce((sum, count) => sum + count, 0);
    t.diagnostic(`${engine}: ${events.length} events, ${KILLS} kills, ${attempts - receiver.received.size} repeats`);
  });
}

async function environmentOf(engine: Engine, t: TestContext): Promise<Record<string, string>> {
  const folder = mkdtempSync(join(tmpdir(), 'pontage-crash-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const target = engine === 'postgres' ? await freshTarget(engine, t) : null;
  return {
    PONTAGE_DATA_DIR: folder,
    PONTAGE_PORT: '0',
    PONTAGE_LOG_LEVEL: 'silent',
    PONTAGE_SECRET_KEY: 'Vq3x9ZrT5mK8wY2nB7cD4fG6hJ1kL0pQ',
    ...(target && 'databaseUrl' in target ? { DATABASE_URL: target.databaseUrl } : {}),
  };
}

/** The same database from a process of its own, as the command line has it beside a server. */
async function openBeside(environment: Record<string, string>, t: TestContext): Promise<Services> {
  const read = readConfig(environment, 'development');
  assert.ok(read.ok);
  const services = await openServices(read.config, 'when empty');
  t.after(() => services.storage.close());
  return services;
}

function spawnServer(environment: Record<string, string>): ChildProcess {
  return spawn(process.execPath, ['--disable-warning=ExperimentalWarning', NODE, String(BANK_LATENCY_MS)], {
    env: { PATH: process.env.PATH, ...environment },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

type Receiver = { url: string; secret: string; received: Map<string, number>; problems: string[] };

async function startReceiver(t: TestContext): Promise<Receiver> {
  const receiver: Receiver = { url: '', secret: '', received: new Map(), problems: [] };
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
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  receiver.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  return receiver;
}

async function seed({ storage, vault, policy, clock }: Services, receiver: Receiver): Promise<{ applicationId: string; userUuid: string }> {
  const now = clock.now();
  const { id } = await storage.transaction((tx) =>
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
  return { applicationId: id, userUuid };
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
  assert.ok(connected !== 'busy');
  return connected.itemId;
}

/** Only moves the clock: what falls due is left to the server, however often it dies over it. */
async function passHalfADay({ storage }: Services, applicationId: string): Promise<void> {
  await storage.transaction(async (tx) => {
    await tx.run(sql`update applications set clock_offset_ms = clock_offset_ms + ${HALF_DAY_MS} where id = ${applicationId}`);
    await tx.run(sql`update items set due_at = due_at - ${HALF_DAY_MS} where application_id = ${applicationId} and due_at is not null`);
    // A claim whose worker was killed ends by time; the test does not wait ten minutes for it.
    await tx.run(sql`update refreshes set run_at = 0 where application_id = ${applicationId} and finished_at is null`);
  });
}

/** Until every refresh has ended and every lane is settled, with nothing parked. */
async function quiet({ storage }: Services): Promise<void> {
  const deadline = Date.now() + QUIET_WITHIN_MS;
  for (;;) {
    await storage.transaction((tx) => tx.run(sql`update refreshes set run_at = 0 where finished_at is null and epoch > 0`));
    const open = await storage.first<{ refreshes: number; unsettled: number; parked: number }>(sql`
      select (select count(*) from refreshes where finished_at is null) as refreshes,
        (select count(*) from lane_heads h join lane_leases l on l.lane = h.lane where l.settled < h.head) as unsettled,
        (select count(*) from parked) as parked`);
    if (open && open.refreshes + open.unsettled + open.parked === 0) return;
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

/** Created rows of all events are all rows there are, so no refresh was applied half or twice. */
async function countsAreRows({ storage }: Services, events: readonly LoggedEvent[]): Promise<void> {
  const told = new Map<number, number>();
  for (const { type, content, accountId } of events) {
    if (type !== 'item.account.updated') continue;
    const { nb_new_transactions } = JSON.parse(content) as { nb_new_transactions: number };
    told.set(accountId!, (told.get(accountId!) ?? 0) + nb_new_transactions);
  }
  const rows = await storage.all<{ account_id: number; rows: number }>(
    sql`select account_id, count(*) as rows from transactions group by account_id order by account_id`,
  );
  assert.ok(rows.length > 0);
  assert.deepEqual(
    rows.map(({ account_id, rows }) => [account_id, rows]),
    rows.map(({ account_id }) => [account_id, told.get(account_id) ?? 0]),
  );
}

/** A small seeded generator, so that a failing run can be run again. */
function mulberry(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let value = Math.imul(state ^ (state >>> 15), 1 | state);
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value;
    return ((value ^ (value >>> 14)) >>> 0) / 4_294_967_296;
  };
}
