/** What the machine does to delivery: a disk that is full, a clock that jumps. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import pg from 'pg';
import { ENGINES, eachEngine, openEngine } from '../../test/support/engines.ts';
import { freshDatabase, NoSmallDisk, startPostgres } from '../../test/support/postgres.ts';
import { HOUR_MS, SECOND_MS } from '../base/clock.ts';
import { updateEndpoint } from '../endpoints/endpoints.ts';
import { createLanes } from '../events/log.ts';
import { migrate } from '../storage/migrate.ts';
import { openStorage } from '../storage/open.ts';
import { sql, sqlText } from '../storage/sql.ts';
import { isDiskFull, type Storage } from '../storage/storage.ts';
import { audit } from './audit/audit.ts';
import { createWorld, POLICY, range, startReceiver, until } from './testing.ts';

/** Holds the schema four times over, and is full at once. */
const SMALL_DISK_BYTES = 64 * 1_024 * 1_024;

/** A database whose disk the test fills, and gives room again. */
type Fillable = { storage: Storage; fill(): Promise<void>; giveRoom(): Promise<void> };

async function fillableSqlite(t: TestContext): Promise<Fillable> {
  const storage = await openEngine('sqlite', t);
  const limit = (pages: number) => storage.transaction((tx) => tx.run(sqlText(`pragma max_page_count = ${pages}`)));
  return {
    storage,
    async fill() {
      await limit((await storage.first<{ page_count: number }>(sql`pragma page_count`))!.page_count);
    },
    async giveRoom() {
      await limit(1_000_000);
    },
  };
}

/** Its tables are on a disk of their own; the server's log is not, as a full one ends the whole server. */
async function fillablePostgres(t: TestContext): Promise<Fillable> {
  const server = await startPostgres({ durable: false, smallDiskBytes: SMALL_DISK_BYTES });
  t.after(() => server.stop());
  const client = new pg.Client({ connectionString: server.url });
  await client.connect();
  await client.query(`create tablespace small location '${server.smallDisk}'`);
  const databaseUrl = await freshDatabase(server.url);
  await client.query(`alter database ${new URL(databaseUrl).pathname.slice(1)} set tablespace small`);
  await client.end();
  const storage = openStorage({ databaseUrl });
  t.after(() => storage.close());
  await migrate(storage, 0);
  await createLanes(storage);
  const run = (statement: string) => storage.transaction((tx) => tx.run(sqlText(statement)));
  await run('create table ballast (text text)');
  return {
    storage,
    async fill() {
      for (const rows of [1_000, 100, 10, 1]) {
        const insert = run.bind(null, `insert into ballast select repeat('x', 1900) from generate_series(1, ${rows})`);
        await assert.rejects(async () => {
          for (;;) await insert();
        }, isDiskFull);
      }
    },
    async giveRoom() {
      await run('drop table ballast');
    },
  };
}

for (const engine of ENGINES) {
  test(`a full disk pauses delivery with one clear line, loses nothing, and it goes on when there is room, on ${engine}`, async (t) => {
    const fillable = await (engine === 'sqlite' ? fillableSqlite(t) : fillablePostgres(t)).catch((error: unknown) => {
      if (error instanceof NoSmallDisk) return error.message;
      throw error;
    });
    if (typeof fillable === 'string') t.skip(`no disk can be made that a test may fill: ${fillable}`);
    else await fillWhileDelivering(fillable, t);
  });
}

async function fillWhileDelivering({ storage, fill, giveRoom }: Fillable, t: TestContext): Promise<void> {
  const world = await createWorld(storage, t);
  const receiver = await startReceiver(t);
  await world.endpoint(receiver.url);
  const lines: string[] = [];
  const write = (_: object, message: string) => void lines.push(message);
  // No heartbeat of its own: to fill a disk takes longer than one, which would deliver what is there meanwhile.
  const still = { heartbeatMs: HOUR_MS, monotonicMs: () => 0, wallMs: () => 0 };
  const node = await world.start({ ...still, log: { debug() {}, info: write, warn: write, error: write } });
  await world.append(range(300));
  await fill();
  node.wake();
  await receiver.until(1);
  for (let beat = 0; beat < 3; beat += 1) await node.tick();
  const written = node.reports.length;
  assert.ok(written < 300, 'what the last page had room for, and no more');
  assert.deepEqual(lines, ["delivery pauses: the database's disk is full; it goes on when there is room"]);
  await assert.rejects(world.append(range(300, 1_000)), isDiskFull, 'and what makes events is told so too');

  await giveRoom();
  // A beat may wait for a settling that began before there was room: the next one writes it.
  await until(node, () => node.reports.length === 300);
  await world.append([301]);
  node.wake();
  await node.settled(301);
  assert.equal(lines.at(-1), 'delivery goes on');
  assert.equal(new Set(receiver.seqs()).size, 301);
  assert.equal(receiver.received.length, 301, 'and nothing twice');
  assert.deepEqual((await audit(storage, { from: 0 })).faults, []);
}

eachEngine('a clock that jumps', (open) => {
  test('an hour ahead and back: what is new is sent at once, nothing twice, and nobody is disabled', async (t) => {
    const world = await createWorld(await open(t), t);
    const refused = new Set<string>();
    const receiver = await startReceiver(t, (_, response, { id }) => {
      const first = refused.size < 3 && !refused.has(id);
      if (first) refused.add(id);
      response.writeHead(first ? 500 : 200).end();
    });
    await world.endpoint(receiver.url);
    let monotonicMs = 0;
    const node = await world.start({ monotonicMs: () => monotonicMs });
    const beat = async () => {
      monotonicMs += SECOND_MS;
      await node.tick();
    };
    await world.append(range(6));
    node.wake();
    await node.settled(6);
    world.clock.advance(HOUR_MS);
    await beat();
    await node.settled(9);
    world.clock.advance(-2 * HOUR_MS);
    await beat();
    await world.append(range(3, 10));
    node.wake();
    await node.settled(12);
    assert.equal(node.stats().lanes, 64, 'leases count by the monotonic clock');
    assert.equal(receiver.received.length, 12);
    assert.equal(new Set(receiver.seqs()).size, 9);
    const endpoint = await world.storage.first<{ enabled: number }>(sql`select enabled from endpoints`);
    assert.equal(endpoint!.enabled, 1);
    assert.deepEqual((await audit(world.storage, { from: 0 })).faults, []);
  });
});

eachEngine('a commit that was not heard of', (open) => {
  test('is written again, and what died in it is counted once', async (t) => {
    const world = await createWorld(await open(t), t);
    const receiver = await startReceiver(t, (_, response) => response.writeHead(500).end());
    const { endpoint } = await world.endpoint(receiver.url);
    await updateEndpoint({ ...world, now: 0 }, endpoint.id, { retryDelaysMs: [SECOND_MS] }, POLICY);
    const deaths = async () =>
      (await world.storage.first<{ deaths: number | null }>(sql`select cast(sum(deaths) as bigint) as deaths from dead_minutes`))?.deaths ??
      0;
    let unheard = false;
    const storage: Storage = {
      ...world.storage,
      async transaction(work) {
        const answer = await world.storage.transaction(work);
        if (unheard || (await deaths()) === 0) return answer;
        unheard = true;
        throw new Error('the connection ended before the answer came');
      },
    };
    const node = await world.start({ storage });
    await world.append(range(3));
    node.wake();
    await node.settled(3);
    world.clock.advance(2 * SECOND_MS);
    await node.tick();
    while (node.reports.length < 6) {
      await node.tick();
      await new Promise(setImmediate);
    }
    assert.equal(unheard, true);
    assert.equal(await deaths(), 3);
    assert.equal(receiver.received.length, 6);
    assert.deepEqual((await audit(world.storage, { from: 0 })).faults, []);
  });
});

eachEngine('a database that fails while a node takes its lanes', (open) => {
  for (const when of ['they are read', 'their commit is answered'] as const) {
    test(`before ${when}: it has them all the same when the database is back`, async (t) => {
      const world = await createWorld(await open(t), t);
      const receiver = await startReceiver(t);
      await world.endpoint(receiver.url);
      await world.append(range(80));
      const taken = async () =>
        (await world.storage.first<{ lanes: number }>(sql`select count(*) as lanes from lane_leases where owner is not null`))!.lanes > 0;
      let failed = false;
      const fail = () => {
        failed = true;
        throw new Error('the database is away');
      };
      const storage: Storage = {
        ...world.storage,
        async all(query) {
          if (when === 'they are read' && !failed && (await taken())) fail();
          return world.storage.all(query);
        },
        async transaction(work) {
          const answer = await world.storage.transaction(work);
          if (when === 'their commit is answered' && !failed && (await taken())) fail();
          return answer;
        },
      };
      const node = await world.start({ storage });
      assert.equal(failed, true);
      for (let beats = 0; beats < 5; beats += 1) await node.tick();
      assert.equal(node.stats().lanes, 64);
      await node.settled(80);
      assert.equal(receiver.received.length, 80);
    });
  }
});
