/** A walk of the test clock that works refreshes out ahead comes to the same as one that takes step by step, whatever happens beside it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../../src/base/clock.ts';
import type { Connector } from '../../src/connectors/connector.ts';
import { demoBank } from '../../src/connectors/sandbox/demo-bank.ts';
import { createScenarios } from '../../src/connectors/sandbox/scenarios/library.ts';
import { refreshItem } from '../../src/refresh/connection.ts';
import { advanceClock } from '../../src/refresh/test-clock/test-clock.ts';
import type { Companion } from '../../src/refresh/test-clock/walk.ts';
import { sql } from '../../src/storage/sql.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { silentLog } from '../../src/telemetry/log.ts';
import { eraseItem } from '../../src/upkeep/erasure.ts';
import { eachEngine } from '../support/engines.ts';
import { stumbling } from '../support/stumbling.ts';
import { advance, BANK, LOGIN, offset, toldBank } from '../support/told-bank.ts';
import { APPLICATION, createWorld, START, type World } from '../support/world.ts';

const DEMO = 574;
const login = (USER: string) => ({ USER, PWD: 'any' });
const signal = new AbortController().signal;
/** Of the calls that may fail, each so many: with 1 it is a search of all, which takes minutes. */
const CALLS_APART = 13;
/** A walk with company takes one step for each moment. */
const STEP_BY_STEP: Companion = { rest: async () => null, bringNearer: async () => {} };

type Row = Record<string, string | number | null>;
/** What is drawn anew each time, or is of the claim; of what is sealed only whether it is there. */
const VOLATILE = ['traceparent', 'claimed_by', 'run_at', 'data_key_id'];
const SEALED = ['credentials', 'connector_state'];

/** Everything that is stored of refreshes; their ids as numbers in the order of their ends. */
async function stored(storage: Storage): Promise<Record<string, Row[]>> {
  const tables = {
    refreshes: await storage.all<Row>(sql`select * from refreshes order by finished_at, started_at, item_id`),
    items: await storage.all<Row>(sql`select * from items order by id`),
    accounts: await storage.all<Row>(sql`select * from accounts order by id`),
    transactions: await storage.all<Row>(sql`select * from transactions order by id`),
    changes: await storage.all<Row>(sql`
      select changes.* from changes join refreshes on refreshes.id = changes.refresh_id
      order by refreshes.finished_at, refreshes.item_id, changes.account_id, changes.n`),
    events: await storage.all<Row>(sql`select * from events order by lane, seq`),
    counts: await storage.all<Row>(sql`select * from event_counts order by item_id`),
    circuits: await storage.all<Row>(sql`select * from bank_circuits order by domain, bank_id`),
    users: await storage.all<Row>(sql`select * from users order by uuid`),
    clocks: await storage.all<Row>(sql`select clock_offset_ms from applications`),
  };
  const numbers = new Map(tables.refreshes.map(({ id }, at) => [id, `rfr#${at}`]));
  const text = JSON.stringify(tables, (key, value: unknown) => {
    if (VOLATILE.includes(key)) return undefined;
    if (SEALED.includes(key)) return value !== null;
    return typeof value === 'string' ? value.replaceAll(/rfr_[A-Za-z0-9]+/g, (id) => numbers.get(id) ?? id) : value;
  });
  return JSON.parse(text) as Record<string, Row[]>;
}

/** In vain: what had been worked out when something else happened. */
type Watched = World & { inVain: string[] };

async function worldOf(storage: Storage, connectors: readonly Connector[]): Promise<Watched> {
  const world = await createWorld(storage, connectors);
  const inVain: string[] = [];
  const note = (fields: Record<string, unknown>, message: string) => {
    if (message.includes('ahead')) inVain.push(String(fields.why ?? fields.error));
  };
  world.services.log = { ...silentLog, info: note, warn: note };
  return { ...world, inVain };
}

async function walked(storage: Storage, logins: readonly string[], days: number, companion?: Companion) {
  const world = await worldOf(storage, [demoBank()]);
  for (const one of logins) await world.connect(DEMO, login(one));
  const before = storage.counts.statements;
  const moved = await advanceClock(world.services, APPLICATION, { byMs: days * DAY_MS }, { signal, ...(companion ? { companion } : {}) });
  assert.ok(moved.ok);
  const statements = storage.counts.statements - before;
  const ranAt = (await storage.first<{ at: number }>(sql`select max(run_at) as at from refreshes`))!.at;
  return { moved, statements, ranAt, tables: await stored(storage), inVain: world.inVain };
}

eachEngine('refreshes that are worked out ahead', (open, engine) => {
  const presets = createScenarios(null)
    .names()
    .map((name) => `scenario:${name}`);
  const stories: { days: number; logins: string[] }[] =
    engine === 'sqlite'
      ? [
          { days: 30, logins: ['success'] },
          { days: 12, logins: presets },
        ]
      : [
          { days: 15, logins: ['success'] },
          { days: 15, logins: ['scenario:vanishing-account', 'scenario:renumbering', 'scenario:label-drift', 'scenario:flapping'] },
        ];
  for (const { days, logins } of stories) {
    test(`${logins.length === 1 ? logins[0] : `${logins.length} items of one user`}: the same rows, events, reasons and records as step by step`, async (t) => {
      const steps = await walked(await open(t), logins, days, STEP_BY_STEP);
      const ahead = await walked(await open(t), logins, days);
      assert.ok(steps.moved.refreshes > days, `${steps.moved.refreshes}`);
      for (const table of Object.keys(steps.tables)) assert.deepEqual(ahead.tables[table], steps.tables[table], table);
      assert.deepEqual(ahead.moved, steps.moved);
      assert.ok(ahead.ranAt <= START + HOUR_MS, 'a record says when it ran in real time');
      assert.deepEqual(ahead.inVain, []);
      // A stretch ends by time, too: on a busy machine it is short.
      assert.ok(ahead.statements * 2 < steps.statements, `${ahead.statements} and ${steps.statements}`);
    });
  }

  test('a bank that is suspended and comes back: the same as step by step', async (t) => {
    const [steps, ahead] = await Promise.all(
      [STEP_BY_STEP, undefined].map(async (companion) => {
        const world = await worldOf(await open(t), [demoBank()]);
        const { storage } = world.services;
        // All within an hour: enough of them fail for their bank to be left in peace.
        await storage.transaction((tx) => tx.run(sql`update applications set refresh_bands = '[[600,640],[1200,1240]]'`));
        for (let n = 0; n < 6; n += 1) await world.connect(DEMO, login('scenario:bank-down'));
        const moved = await advanceClock(
          world.services,
          APPLICATION,
          { byMs: 6 * DAY_MS },
          { signal, ...(companion ? { companion } : {}) },
        );
        assert.ok(moved.ok);
        return { moved, tables: await stored(storage) };
      }),
    );
    for (const table of Object.keys(steps!.tables)) assert.deepEqual(ahead!.tables[table], steps!.tables[table], table);
    const suspended = steps!.tables.events!.filter(({ content }) => String(content).includes('"status_code":1007'));
    assert.ok(suspended.length > 0);
  });

  /** A predictable bank of two accounts, with something that happens while its nth login is asked, or each one. */
  const disturbed = (n: number | 'each', disturb: (itemId: number) => Promise<void>) => {
    const bank = toldBank();
    let logins = 0;
    const connector: Connector = {
      ...bank.connector,
      predictable: true,
      async authenticate(request, limit) {
        logins += 1;
        if (n === 'each' || logins === n) await disturb(request.itemId);
        return bank.connector.authenticate(request, limit);
      },
    };
    return connector;
  };
  const ended = (world: World) =>
    world.services.storage.all<{ cause: string; started_at: number }>(
      sql`select cause, started_at from refreshes where finished_at is not null order by started_at`,
    );

  test('more items than are held at once: each has two refreshes a day', async (t) => {
    const world = await worldOf(await open(t), [{ ...toldBank().connector, predictable: true }]);
    for (let n = 0; n < 34; n += 1) await world.connect(BANK, LOGIN);
    const before = (await ended(world)).length;
    await advance(world, 3 * DAY_MS);
    const counts = await world.services.storage.all<{ refreshes: number }>(sql`
      select count(*) as refreshes from refreshes where cause = 'scheduler' and finished_at is not null group by item_id`);
    assert.equal(counts.length, 34);
    assert.ok(
      counts.every(({ refreshes }) => refreshes >= 5 && refreshes <= 7),
      JSON.stringify(counts),
    );
    const begun = (await ended(world)).slice(before).map(({ started_at }) => started_at);
    assert.deepEqual(
      begun,
      begun.toSorted((a, b) => a - b),
    );
    assert.deepEqual(world.inVain, []);
  });

  test('somebody asks for a refresh meanwhile: it is kept and run, and no slot is missed', async (t) => {
    const storage = await open(t);
    const connector = disturbed(7, async (itemId) => {
      await refreshItem(world.services, itemId, 'api');
    });
    const world = await worldOf(storage, [connector]);
    await world.connect(BANK, LOGIN);
    await advance(world, 5 * DAY_MS);
    assert.deepEqual(world.inVain, ['a refresh was asked for']);
    const causes = (await ended(world)).map(({ cause }) => cause);
    assert.equal(causes.filter((cause) => cause === 'api').length, 1);
    assert.ok(causes.filter((cause) => cause === 'scheduler').length >= 8, causes.join());
  });

  test('an item is erased meanwhile: nothing of it is written', async (t) => {
    const storage = await open(t);
    const connector = disturbed(7, async (itemId) => {
      const { storage, vault, clock } = world.services;
      await eraseItem({ storage, vault, now: clock.now(), pause: async () => {} }, itemId);
    });
    const world = await worldOf(storage, [connector]);
    await world.connect(BANK, LOGIN);
    await advance(world, 5 * DAY_MS);
    assert.equal(world.inVain.length, 1);
    assert.equal((await storage.first<{ n: number }>(sql`select count(*) as n from refreshes`))!.n, 0);
    assert.equal((await storage.first<{ n: number }>(sql`select count(*) as n from accounts`))!.n, 0);
  });

  test('what its application wants changes meanwhile: the slots of the new bands are kept', async (t) => {
    const storage = await open(t);
    const connector = disturbed(7, async () => {
      await storage.transaction((tx) => tx.run(sql`update applications set refresh_bands = '[[600,660],[720,780]]'`));
    });
    const world = await worldOf(storage, [connector]);
    const itemId = await world.connect(BANK, LOGIN);
    await advance(world, 5 * DAY_MS);
    assert.deepEqual(world.inVain, [`item ${itemId} is not what it was`]);
    const minutes = (await ended(world)).slice(-4).map(({ started_at }) => (started_at % DAY_MS) / MINUTE_MS);
    assert.ok(
      minutes.every((minute) => (minute >= 600 && minute < 661) || (minute >= 720 && minute < 781)),
      minutes.join(),
    );
  });

  test('the operator releases what an account holds meanwhile: his word is not written over', async (t) => {
    const storage = await open(t);
    const connector = disturbed(7, async () => {
      await storage.transaction((tx) => tx.run(sql`update accounts set breaker_released_at = 5`));
    });
    const world = await worldOf(storage, [connector]);
    const itemId = await world.connect(BANK, LOGIN);
    await advance(world, 5 * DAY_MS);
    assert.deepEqual(world.inVain, [`item ${itemId} is not what it was`]);
    assert.deepEqual(await storage.all(sql`select distinct breaker_released_at, breaker_release_taken from accounts`), [
      { breaker_released_at: 5, breaker_release_taken: 5 },
    ]);
  });

  test('its user has an event of elsewhere meanwhile: timestamps go on after it', async (t) => {
    const storage = await open(t);
    const later = 2 * DAY_MS;
    const connector = disturbed(7, async () => {
      await storage.transaction((tx) => tx.run(sql`update users set last_event_at = last_event_at + ${later}`));
    });
    const world = await worldOf(storage, [connector]);
    await world.connect(BANK, LOGIN);
    await advance(world, 5 * DAY_MS);
    assert.deepEqual(world.inVain, ['a user has had other events']);
    const at = (await world.events()).map(({ timestamp }) => timestamp);
    assert.equal(new Set(at).size, at.length);
  });

  test('failures of a stretch that was dropped are not held against the bank', async (t) => {
    const storage = await open(t);
    let logins = 0;
    const connector: Connector = {
      ...toldBank().connector,
      predictable: true,
      async authenticate(request) {
        if (request.attended) return { kind: 'authenticated', session: null };
        logins += 1;
        if (logins === 6) await storage.transaction((tx) => tx.run(sql`update users set last_event_at = last_event_at + 1`));
        return { kind: 'failed', status: 1003, info: null, retryAfterMs: DAY_MS };
      },
    };
    const world = await worldOf(storage, [connector]);
    for (let n = 0; n < 6; n += 1) await world.connect(BANK, LOGIN);
    // So far apart that no two of them fail in the time that counts.
    await storage.transaction((tx) =>
      tx.run(sql`update items set due_at = ${world.clock.now()} + (id - (select min(id) from items) + 1) * ${100 * MINUTE_MS}`),
    );
    await advance(world, 12 * HOUR_MS);
    assert.equal(world.inVain.length, 1);
    assert.deepEqual(await storage.all(sql`select status, count(*) as times from refreshes where cause = 'scheduler' group by status`), [
      { status: 1003, times: 6 },
    ]);
    assert.deepEqual(await storage.all(sql`select * from bank_circuits`), []);
  });

  if (engine === 'postgres')
    test('an item without a due moment that is refreshed while a stretch is written is due from then on', async (t) => {
      const storage = await open(t);
      const beside = '00000000-a942-492c-9ea7-2e5aa88cb672';
      let asked: Promise<unknown> | null = null;
      /** Just before a stretch writes its refreshes. */
      const hooked: Storage = {
        ...storage,
        transaction: (work, options) =>
          storage.transaction(
            (tx) =>
              work({
                ...tx,
                async insertMany(table, ...rest) {
                  if (table === 'refreshes') asked ??= refreshItem(world.services, other, 'api').then(() => world.run());
                  return tx.insertMany(table, ...rest);
                },
              }),
            options,
          ),
      };
      const world = await worldOf(storage, [{ ...toldBank().connector, predictable: true }]);
      await world.connect(BANK, LOGIN);
      const other = await world.connect(BANK, LOGIN);
      await storage.transaction(async (tx) => {
        await tx.run(sql`insert into users (uuid, application_id, created_at) values (${beside}, ${APPLICATION}, 0)`);
        await tx.run(sql`update items set user_uuid = ${beside}, due_at = null where id = ${other}`);
        await tx.run(sql`update accounts set user_uuid = ${beside} where item_id = ${other}`);
      });
      const moved = await advanceClock({ ...world.services, storage: hooked }, APPLICATION, { byMs: 30 * DAY_MS }, { signal });
      assert.ok(moved.ok);
      await asked;
      const { at } = (await storage.first<{ at: number }>(sql`
        select started_at as at from refreshes where item_id = ${other} and cause = 'api'`))!;
      const left = (moved.now - at) / DAY_MS;
      const slots = (await storage.first<{ n: number }>(sql`
        select count(*) as n from refreshes where item_id = ${other} and cause = 'scheduler'`))!.n;
      assert.ok(slots >= 2 * left - 2, `${slots} in ${left} days`);
    });

  test('something happens at each moment: the walk goes on step by step', async (t) => {
    const storage = await open(t);
    const connector = disturbed('each', async () => {
      await storage.transaction((tx) => tx.run(sql`update users set last_event_at = last_event_at + 1`));
    });
    const world = await worldOf(storage, [connector]);
    await world.connect(BANK, LOGIN);
    const { refreshes } = await advance(world, 3 * DAY_MS);
    assert.ok(refreshes >= 5 && refreshes <= 7, `${refreshes}`);
    assert.equal(world.inVain.length, refreshes);
  });

  test('a stretch that was written and not heard of: the clock goes on from where it is', async (t) => {
    const storage = await open(t);
    let deaf = false;
    const world = await worldOf(
      {
        ...storage,
        // What a walk writes need not wait for the disk.
        async transaction(work, options) {
          const result = await storage.transaction(work, options);
          if (!deaf || options?.durable !== false) return result;
          deaf = false;
          throw new Error('the connection broke');
        },
      },
      [demoBank()],
    );
    await world.connect(DEMO, login('success'));
    const before = await offset(world);
    deaf = true;
    await advance(world, 4 * DAY_MS);
    assert.equal(deaf, false);
    assert.deepEqual(world.inVain, ['Error: the connection broke']);
    assert.equal(await offset(world), before + 4 * DAY_MS);
    const moments = (await ended(world)).map(({ started_at }) => started_at);
    assert.equal(new Set(moments).size, moments.length);
  });

  test('an advance that is given up writes whole refreshes or none, and the next goes on', async (t) => {
    const storage = await open(t);
    const giveUp = new AbortController();
    const connector = disturbed(45, async () => giveUp.abort(new Error('given up')));
    const world = await worldOf(storage, [connector]);
    await world.connect(BANK, LOGIN);
    await assert.rejects(advanceClock(world.services, APPLICATION, { byMs: 60 * DAY_MS }, { signal: giveUp.signal }), /given up/);
    const first = await ended(world);
    const moved = await offset(world);
    assert.ok(moved > 10 * DAY_MS && moved < 30 * DAY_MS, `${moved / DAY_MS}`);
    await advance(world, 60 * DAY_MS - moved);
    const all = (await ended(world)).filter(({ cause }) => cause === 'scheduler');
    assert.ok(all.length >= 119 && all.length <= 121, `${all.length}, ${first.length} before`);
    assert.equal(await offset(world), 60 * DAY_MS);
  });

  for (const after of [false, true]) {
    test(`the database fails at each call, ${after ? 'after' : 'before'} it is done: in the end all is as without`, async (t) => {
      const days = 4;
      const well = await walked(await open(t), ['scenario:twin-coffee'], days);
      let calls = 0;
      // The first time none fails.
      for (let fails = 0; fails <= calls; fails += CALLS_APART) {
        const { storage, calls: made } = stumbling(await open(t), fails, { after, within: true });
        const world = await worldOf(storage, [demoBank()]);
        await world.connect(DEMO, login('scenario:twin-coffee'));
        const to = (await offset(world)) + world.clock.now() + days * DAY_MS;
        made.on = true;
        // Whoever asked is told that it failed, and asks again; the clock is its own for a minute where that could not be given back.
        await advanceClock(world.services, APPLICATION, { to }, { signal }).catch(() => {});
        made.on = false;
        calls = Math.max(calls, made.made);
        await storage.transaction((tx) => tx.run(sql`update applications set clock_mover = null`));
        const left = to - world.clock.now() - (await offset(world));
        if (left > 0) await advance(world, left);
        const tables = await stored(storage);
        const failed = `${made.failed} (${fails})`;
        // Ids of rows may have gaps, and a run that was told again has a later epoch.
        const told = (rows: Row[]) => rows.map(({ type, timestamp, item_id }) => ({ type, timestamp, item_id }));
        assert.deepEqual(told(tables.events!), told(well.tables.events!), failed);
        assert.deepEqual(tables.clocks, well.tables.clocks, failed);
        assert.equal(tables.transactions!.length, well.tables.transactions!.length, failed);
        assert.equal(tables.changes!.length, well.tables.changes!.length, failed);
      }
      assert.ok(calls > 20, `${calls}`);
    });
  }

  test('an hour at which nothing falls due passes without a refresh', async (t) => {
    const world = await worldOf(await open(t), [demoBank()]);
    await world.connect(DEMO, login('success'));
    const { refreshes, events } = await advance(world, HOUR_MS / 60);
    assert.deepEqual({ refreshes, events }, { refreshes: 0, events: 0 });
  });
});
