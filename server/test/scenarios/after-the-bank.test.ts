/**
 * Runs that fail after their bank has been asked: it is not asked again for what it has said, nothing that its login brought is
 * lost, and every login counts.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mock, test } from 'node:test';
import { HOUR_MS, MINUTE_MS } from '../../src/base/clock.ts';
import type { Authentication, Connector, Json } from '../../src/connectors/connector.ts';
import { STATEMENTS_BANK_ID, statementsConnector } from '../../src/connectors/statements/connector.ts';
import { eraseExpiredCredentials, findItem } from '../../src/items/items.ts';
import { freeClaims } from '../../src/items/refreshes.ts';
import { answerRefresh, connectItem, refreshItem } from '../../src/refresh/connection.ts';
import { RUNS_MAX } from '../../src/refresh/failed-run.ts';
import { TRIES_MAX } from '../../src/refresh/insist.ts';
import { readItemSchedule } from '../../src/refresh/schedule/read.ts';
import { openState } from '../../src/refresh/sealed.ts';
import { runPass } from '../../src/refresh/worker.ts';
import { sql } from '../../src/storage/sql.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { DRIVEN_BANK, drivenBank } from '../support/driven-bank.ts';
import { eachEngine } from '../support/engines.ts';
import { APPLICATION, createWorld, openRefresh, runToTheEnd, USER, type World } from '../support/world.ts';

const LOGIN = { USER: 'somebody', PWD: 'any' };
const SAMPLES = new URL('../../src/connectors/statements/fixtures/samples/', import.meta.url);
const FILE = { name: 'statement.xml', bytes: readFileSync(new URL('camt/camt053.v2.minimal.xml', SAMPLES)) };
const REFUSED: Authentication = { kind: 'failed', status: 402, info: null };
const SMS: Authentication = {
  kind: 'challenge',
  challenge: { type: 'SMS', label: 'code', description: null, isNumeric: true, lifetimeMs: 5 * MINUTE_MS },
  state: 'sent',
};

/** Of transactions that write events, the next `fails` fail; with `whole`, of all transactions. */
function stumbling(real: Storage) {
  const control = { fails: 0, whole: false };
  const stumble = () => {
    if (control.fails === 0) return;
    control.fails -= 1;
    throw new Error('a fault of the database');
  };
  const storage: Storage = {
    ...real,
    async transaction(work, options) {
      if (control.whole) stumble();
      return real.transaction((tx) => {
        const insertLast: typeof tx.insertLast = (table, columns, rows) => {
          if (table === 'events') stumble();
          return tx.insertLast(table, columns, rows);
        };
        return work({ ...tx, insertLast });
      }, options);
    },
  };
  return { storage, control };
}

/** The driven bank without quotas of calls, with its logins counted and answered by `authenticate` where that has an answer. */
function bankThat(
  authenticate: (request: Parameters<Connector['authenticate']>[0]) => Authentication | null,
  { loginsPerDay }: { loginsPerDay?: number } = {},
) {
  const { connector } = drivenBank();
  const access = loginsPerDay === undefined ? { callsPerDay: null } : { callsPerDay: null, loginsPerDay };
  const bank = {
    logins: 0,
    connector: {
      ...connector,
      bank: { ...connector.bank, access },
      authenticate: async (request, signal) => {
        bank.logins += 1;
        return authenticate(request) ?? connector.authenticate(request, signal);
      },
    } as Connector,
  };
  return bank;
}

/** A bank that gives a new token at each login, and lets nobody in by an older one. */
function rotatingBank() {
  let token = 0;
  return bankThat(({ kept, attended, credentials }) => {
    if (!attended && kept !== token) return { kind: 'failed', status: 1010, info: null };
    token += 1;
    return { kind: 'authenticated', session: credentials.USER!, keep: token };
  });
}

/** A bank that sends a code, takes each once, and wants none from whoever comes with its consent, if it gives any. */
function codeBank({ consents = true } = {}) {
  const told: string[] = [];
  const bank = bankThat(({ answer, credentials, kept, attended }) => {
    const authenticated: Authentication = { kind: 'authenticated', session: credentials.USER!, keep: consents ? 'consent' : null };
    if (kept !== null || !attended) return authenticated;
    if (answer?.code == null) return SMS;
    told.push(answer.code);
    return told.indexOf(answer.code) < told.length - 1 ? { ...SMS, wrongAnswer: true } : authenticated;
  });
  return { ...bank, told };
}

async function press(world: World, sessionId?: string) {
  const request = { applicationId: APPLICATION, userUuid: USER, bankId: DRIVEN_BANK, credentials: LOGIN, clockOffsetMs: 0 };
  const connected = await connectItem(world.services, { sessionId: sessionId ?? (await world.session()), ...request });
  assert.ok(typeof connected !== 'string');
  return connected;
}

const statuses = async (world: World) =>
  (await world.events())
    .filter(({ type }) => type === 'item.refreshed')
    .map(({ content }) => (JSON.parse(content) as { status_code: number }).status_code);
const scheduleOf = async ({ services, clock }: World, itemId: number) =>
  (await readItemSchedule(services, APPLICATION, itemId, clock.now()))!;
const isDue = async ({ services: { storage } }: World) =>
  (await storage.first<{ due_at: number | null }>(sql`select due_at from items`))!.due_at !== null;

eachEngine('a run that fails after its bank was asked', (open) => {
  // Once: its ending is committed again. As often as that is tried: it becomes another run.
  for (const fails of [1, TRIES_MAX]) {
    const where = `where its commit fails ${fails === 1 ? 'once' : 'each time'}`;

    test(`tells a refused password once, ${where}, to whoever it is that asks`, async (t) => {
      const { storage, control } = stumbling(await open(t));
      let wrong = true;
      const bank = bankThat(() => (wrong ? REFUSED : null));
      const world = await createWorld(storage, [bank.connector]);
      const sessionId = await world.session();
      await press(world, sessionId);
      control.fails = fails;
      await runToTheEnd(world);
      assert.deepEqual([bank.logins, await statuses(world)], [1, [402]], 'the user');

      wrong = false;
      const { itemId } = await press(world, sessionId);
      await world.run();
      world.clock.advance(MINUTE_MS);
      await world.run();
      assert.deepEqual(await statuses(world), [402, 0, 0]);
      wrong = true;
      for (const cause of ['api', 'scheduler'] as const) {
        const before = bank.logins;
        control.fails = fails;
        if (cause === 'api') await refreshItem(world.services, itemId, 'api');
        for (let hour = 0; hour < 30 && bank.logins === before; hour += 1) {
          await world.run();
          world.clock.advance(HOUR_MS);
        }
        await runToTheEnd(world);
        assert.deepEqual([bank.logins, (await statuses(world)).at(-1)], [before + 1, 402], cause);
        wrong = false;
        await press(world, sessionId);
        await runToTheEnd(world);
        wrong = true;
      }
    });

    test(`leaves a bank in peace that wished for it, ${where}`, async (t) => {
      const { storage, control } = stumbling(await open(t));
      let busy = false;
      const bank = bankThat(() => (busy ? { kind: 'failed', status: 1007, info: null, retryAfterMs: 6 * HOUR_MS } : null));
      const world = await createWorld(storage, [bank.connector]);
      const itemId = await world.connect(DRIVEN_BANK, LOGIN);
      const before = bank.logins;
      busy = true;
      control.fails = fails;
      await refreshItem(world.services, itemId, 'api');
      await runToTheEnd(world);
      assert.deepEqual([bank.logins, await statuses(world)], [before + 1, [0, 0, 1007]]);
      await refreshItem(world.services, itemId, 'api');
      await runToTheEnd(world);
      assert.equal(bank.logins, before + 1);
    });

    test(`keeps what its login has renewed, ${where}`, async (t) => {
      const { storage, control } = stumbling(await open(t));
      const world = await createWorld(storage, [rotatingBank().connector]);
      const itemId = await world.connect(DRIVEN_BANK, LOGIN);
      await refreshItem(world.services, itemId, 'api');
      control.fails = fails;
      await runToTheEnd(world);
      assert.deepEqual(await statuses(world), [0, 0, 0]);
      assert.ok(await isDue(world));
    });

    test(`tells a code once, ${where}`, async (t) => {
      const { storage, control } = stumbling(await open(t));
      const bank = codeBank();
      const world = await createWorld(storage, [bank.connector]);
      const { itemId, refreshId } = await press(world);
      await world.run();
      assert.ok(await answerRefresh(world.services, refreshId, itemId, '123456'));
      control.fails = fails;
      await runToTheEnd(world);
      assert.deepEqual([bank.told, await statuses(world)], [['123456'], [0, 0]]);
    });
  }

  test('tells a wrong code once, where its showing cannot be written', async (t) => {
    const { storage, control } = stumbling(await open(t));
    const told: string[] = [];
    const bank = bankThat(({ answer }) => {
      if (answer?.code == null) return SMS;
      told.push(answer.code);
      if (told.length === 1) Object.assign(control, { fails: TRIES_MAX, whole: true });
      return { ...SMS, wrongAnswer: true };
    });
    const world = await createWorld(storage, [bank.connector]);
    const { itemId, refreshId } = await press(world);
    await world.run();
    assert.ok(await answerRefresh(world.services, refreshId, itemId, '111111'));
    await world.run();
    control.whole = false;
    world.clock.advance(MINUTE_MS);
    await world.run();
    assert.deepEqual(told, ['111111']);
    assert.ok(await answerRefresh(world.services, refreshId, itemId, '222222'), 'it waits for another one');
  });

  test('takes the code that is typed while a showing that was written, and not heard of, is written again', async (t) => {
    const real = await open(t);
    let lose = false;
    const storage: Storage = {
      ...real,
      async transaction(work, options) {
        const value = await real.transaction(work, options);
        if (!lose) return value;
        lose = false;
        throw new Error('the answer was lost');
      },
    };
    const bank = codeBank();
    const world = await createWorld(storage, [
      {
        ...bank.connector,
        authenticate: async (request, signal) => {
          const answered = await bank.connector.authenticate(request, signal);
          lose = answered.kind === 'challenge';
          return answered;
        },
      },
    ]);
    const { itemId, refreshId } = await press(world);
    let isTaken = false;
    world.services.pause = async () => {
      isTaken = await answerRefresh(world.services, refreshId, itemId, '123456');
    };
    await world.run();
    assert.ok(isTaken);
    world.clock.advance(5_000);
    await world.run();
    assert.deepEqual([bank.told, await statuses(world)], [['123456'], [0, 0]]);
  });

  test('imports uploaded files once they are written, and never thinks that they were before', async (t) => {
    for (const fails of [TRIES_MAX, RUNS_MAX * TRIES_MAX]) {
      const { storage, control } = stumbling(await open(t));
      const world = await createWorld(storage, [statementsConnector]);
      const sessionId = await world.session();
      const upload = async (kept: Json) => {
        const outcome = await statementsConnector.readFiles!([FILE], kept);
        assert.ok(outcome.ok);
        const { credentials } = outcome;
        const request = { sessionId, applicationId: APPLICATION, userUuid: USER, bankId: STATEMENTS_BANK_ID, clockOffsetMs: 0 };
        const connected = await connectItem(world.services, { ...request, credentials });
        assert.ok(typeof connected !== 'string');
        return connected.itemId;
      };
      const itemId = await upload(null);
      control.fails = fails;
      await runToTheEnd(world);
      if (fails > TRIES_MAX) {
        assert.deepEqual(await statuses(world), [1003]);
        await upload(await openState(world.services, (await findItem(storage, itemId))!));
        await runToTheEnd(world);
      }
      const { content } = (await world.events()).findLast(({ type }) => type === 'item.refreshed')!;
      const { status_code, full_refresh } = JSON.parse(content) as { status_code: number; full_refresh: boolean };
      assert.deepEqual([status_code, full_refresh], [0, true]);
      assert.ok((await storage.all(sql`select id from transactions`)).length > 0);
    }
  });

  test('wants another code, and does not tell the used one again, where a login is for one run only', async (t) => {
    const { storage, control } = stumbling(await open(t));
    const bank = codeBank({ consents: false });
    const world = await createWorld(storage, [bank.connector]);
    const { itemId, refreshId } = await press(world);
    await world.run();
    assert.ok(await answerRefresh(world.services, refreshId, itemId, '123456'));
    control.fails = TRIES_MAX;
    await world.run();
    world.clock.advance(MINUTE_MS);
    await world.run();
    assert.ok(await answerRefresh(world.services, refreshId, itemId, '654321'), 'it waits for a code again');
    await runToTheEnd(world);
    assert.deepEqual(
      [bank.told, await statuses(world)],
      [
        ['123456', '654321'],
        [0, 0],
      ],
    );
  });

  test('keeps what its login has renewed, and tells a code once, where it is the server that stops', async (t) => {
    for (const bank of [codeBank(), rotatingBank()]) {
      const stops = new AbortController();
      const { fetchAccount } = bank.connector;
      const world = await createWorld(await open(t), [
        {
          ...bank.connector,
          fetchAccount: (request, signal) => {
            stops.abort(new Error('the server stops'));
            return fetchAccount(request, signal);
          },
        },
      ]);
      const { itemId, refreshId } = await press(world);
      if ('told' in bank) {
        await world.run();
        assert.ok(await answerRefresh(world.services, refreshId, itemId, '123456'));
      }
      await runPass(world.services, APPLICATION, stops.signal);
      assert.ok(stops.signal.aborted);
      await runToTheEnd(world);
      assert.deepEqual(await statuses(world), [0, 0]);
      if ('told' in bank) assert.deepEqual(bank.told, ['123456']);
    }
  });

  test('counts the logins of challenges that nobody answers, each once', async (t) => {
    let asks = false;
    const bank = bankThat(({ attended, answer }) => (asks && attended && answer?.code == null ? SMS : null), { loginsPerDay: 5 });
    const world = await createWorld(await open(t), [bank.connector]);
    const itemId = await world.connect(DRIVEN_BANK, LOGIN);
    asks = true;
    const { refreshId } = (await refreshItem(world.services, itemId, 'connect'))!;
    await world.run();
    assert.equal((await scheduleOf(world, itemId)).loginsIn24h, 3);
    assert.ok(await answerRefresh(world.services, refreshId, itemId, '123456'));
    await world.run();
    assert.deepEqual([(await statuses(world)).at(-1), (await scheduleOf(world, itemId)).loginsIn24h], [0, 3]);
    for (let visit = 0; visit < 2; visit += 1) {
      await refreshItem(world.services, itemId, 'connect');
      await runToTheEnd(world);
      assert.equal((await statuses(world)).at(-1), 1010);
    }
    asks = false;
    const before = bank.logins;
    await refreshItem(world.services, itemId, 'api');
    await runToTheEnd(world);
    assert.deepEqual([bank.logins, (await scheduleOf(world, itemId)).loginsIn24h], [before, 5]);
  });

  for (const status of [402, 429, 1003, 1010, 1100] as const)
    test(`asks nobody once more where the bank has answered ${status}, behind a code or by itself`, async (t) => {
      const { storage, control } = stumbling(await open(t));
      let fails = false;
      const failed: Authentication = { kind: 'failed', status, info: null };
      const bank = bankThat(({ attended, answer }) => (!fails ? null : attended && answer?.code == null ? SMS : failed));
      const world = await createWorld(storage, [bank.connector]);
      const itemId = await world.connect(DRIVEN_BANK, LOGIN);
      fails = true;
      await refreshItem(world.services, itemId, 'api');
      control.fails = 3 * TRIES_MAX;
      await runToTheEnd(world);
      assert.deepEqual([bank.logins, await statuses(world)], [3, [0, 0, status]]);
      assert.equal((await scheduleOf(world, itemId)).loginsIn24h, 3);

      const { refreshId } = (await refreshItem(world.services, itemId, 'connect'))!;
      await world.run();
      assert.ok(await answerRefresh(world.services, refreshId, itemId, '123456'));
      control.fails = 3 * TRIES_MAX;
      await runToTheEnd(world);
      assert.deepEqual([bank.logins, await statuses(world)], [5, [0, 0, status, status]]);
      assert.equal((await scheduleOf(world, itemId)).credentialsRefused, status === 402);
    });

  test('leaves in peace, with all its accounts, a bank that wishes for it where one of them had failed before', async (t) => {
    const { storage, control } = stumbling(await open(t));
    let mode: 'some' | 'busy' | 'well' = 'well';
    const bank = bankThat(() => (mode === 'busy' ? { kind: 'failed', status: 1007, info: null, retryAfterMs: 6 * HOUR_MS } : null));
    const { fetchAccount } = bank.connector;
    const world = await createWorld(storage, [
      {
        ...bank.connector,
        fetchAccount: async (request, signal) =>
          mode === 'some' && request.account.name === 'second'
            ? { kind: 'failed', status: 1003, info: null }
            : fetchAccount(request, signal),
      },
    ]);
    const itemId = await world.connect(DRIVEN_BANK, LOGIN);
    mode = 'some';
    await refreshItem(world.services, itemId, 'api');
    await world.run();
    mode = 'busy';
    const before = bank.logins;
    await refreshItem(world.services, itemId, 'api');
    control.fails = TRIES_MAX;
    await runToTheEnd(world);
    assert.deepEqual([bank.logins, (await statuses(world)).at(-1)], [before + 1, 1007]);
  });

  test("keeps to the bank's daily cap where the server stops during the history of a first connection", async (t) => {
    let stops: AbortController | null = null;
    const bank = bankThat(() => null, { loginsPerDay: 3 });
    const { fetchAccount } = bank.connector;
    const world = await createWorld(await open(t), [
      {
        ...bank.connector,
        fetchAccount: (request, signal) => {
          stops?.abort(new Error('the server stops'));
          return fetchAccount(request, signal);
        },
      },
    ]);
    await press(world);
    await world.run();
    world.clock.advance(5_000);
    for (let restart = 0; restart < 4; restart += 1) {
      stops = new AbortController();
      await runPass(world.services, APPLICATION, stops.signal);
    }
    stops = null;
    await runToTheEnd(world);
    assert.equal(bank.logins, 3);
  });

  test("keeps to the bank's daily cap, whoever has asked for it first", async (t) => {
    const { storage, control } = stumbling(await open(t));
    const bank = bankThat(() => null, { loginsPerDay: 3 });
    const world = await createWorld(storage, [bank.connector]);
    await press(world);
    await world.run();
    control.fails = 2 * TRIES_MAX;
    await runToTheEnd(world);
    assert.deepEqual([bank.logins, await statuses(world)], [3, [0, 1007]], 'the history after the first data');
  });

  test('is given up where the process dies over it each time, with all its logins counted', async (t) => {
    let dies = false;
    const { connector } = drivenBank();
    let logins = 0;
    const dying: Connector = {
      ...connector,
      bank: { ...connector.bank, access: { callsPerDay: null } },
      authenticate: (request, signal) => {
        logins += 1;
        return dies ? new Promise(() => {}) : connector.authenticate(request, signal);
      },
    };
    const world = await createWorld(await open(t), [dying]);
    const { storage } = world.services;
    const itemId = await world.connect(DRIVEN_BANK, LOGIN);
    await refreshItem(world.services, itemId, 'api');
    dies = true;
    const before = logins;
    for (let run = 1; run <= RUNS_MAX; run += 1) {
      const dead = new AbortController();
      const running = runPass(world.services, APPLICATION, dead.signal);
      while (logins < before + run) await new Promise(setImmediate);
      // Freed by the next start, or by the end of its lease.
      if (run % 2 === 0) await storage.transaction((tx) => freeClaims(tx, world.clock.now()));
      else world.clock.advance(HOUR_MS / 4);
      t.after(() => {
        dead.abort();
        return running;
      });
    }
    await runToTheEnd(world);
    assert.equal(logins, before + RUNS_MAX);
    assert.deepEqual(await statuses(world), [0, 0, 1003]);
    assert.equal((await scheduleOf(world, itemId)).loginsIn24h, logins);
  });

  test('counts its login where the database is away for as long as anything can be written', async (t) => {
    const { storage, control } = stumbling(await open(t));
    const bank = bankThat(() => {
      // Its commit, and then what gives its claim back.
      if (away) Object.assign(control, { fails: 2 * TRIES_MAX, whole: true });
      away = false;
      return null;
    });
    let away = false;
    const world = await createWorld(storage, [bank.connector]);
    const itemId = await world.connect(DRIVEN_BANK, LOGIN);
    await refreshItem(world.services, itemId, 'api');
    away = true;
    await world.run();
    assert.equal(control.fails, 0);
    await runToTheEnd(world);
    assert.deepEqual(await statuses(world), [0, 0, 0]);
    assert.deepEqual([bank.logins, (await scheduleOf(world, itemId)).loginsIn24h], [4, 4]);
  });

  test('runs at once where its user comes back, who is not held to what failed before', async (t) => {
    const { storage, control } = stumbling(await open(t));
    const bank = bankThat(() => null);
    const world = await createWorld(storage, [bank.connector]);
    const itemId = await world.connect(DRIVEN_BANK, LOGIN);
    control.fails = 4 * TRIES_MAX;
    await refreshItem(world.services, itemId, 'api');
    while (control.fails > 0) {
      await world.run();
      if (control.fails > 0) world.clock.advance(MINUTE_MS);
    }
    assert.ok((await openRefresh(world))!.run_at > world.clock.now() + MINUTE_MS);
    const { joined } = (await refreshItem(world.services, itemId, 'connect'))!;
    assert.ok(joined);
    await world.run();
    assert.deepEqual(await statuses(world), [0, 0, 0]);
  });
});

eachEngine('a refresh that somebody watches', (open, engine) => {
  /** Each of its accounts takes a second by the clock that progress goes by. */
  async function slowBank(t: Parameters<typeof open>[0], storage: Storage, whileFetching: () => Promise<void>) {
    const { now } = performance;
    let passedMs = 0;
    mock.method(performance, 'now', () => now.call(performance) + passedMs);
    t.after(() => mock.restoreAll());
    const bank = bankThat(() => null);
    const { fetchAccount } = bank.connector;
    const fetched: string[] = [];
    const world = await createWorld(storage, [
      {
        ...bank.connector,
        fetchAccount: async (request, signal) => {
          fetched.push(request.account.name);
          passedMs += 1_000;
          await whileFetching();
          return fetchAccount(request, signal);
        },
      },
    ]);
    return { world, bank, fetched };
  }

  test('ends as well where its progress cannot be shown, and costs no login more', async (t) => {
    const { storage, control } = stumbling(await open(t));
    let fails = 1;
    const { world, bank } = await slowBank(t, storage, async () => {
      Object.assign(control, { fails, whole: true });
      fails = 0;
    });
    await press(world);
    await world.run();
    assert.deepEqual([control.fails, bank.logins, await statuses(world)], [0, 1, [0]]);
  });

  test('asks the bank nothing more once another worker has it', async (t) => {
    const storage = await open(t);
    let taken = false;
    const { world, fetched } = await slowBank(t, storage, async () => {
      if (taken) return;
      taken = true;
      await storage.transaction((tx) => tx.run(sql`update refreshes set epoch = epoch + 1`));
    });
    await press(world);
    await world.run();
    assert.equal(fetched.length, 1);
    assert.deepEqual(await statuses(world), []);
  });

  test('keeps the credentials of a first connection that runs when they expire', async (t) => {
    const storage = await open(t);
    const { connector } = drivenBank();
    let late = false;
    const world: World = await createWorld(storage, [
      {
        ...connector,
        authenticate: async (request, signal) => {
          if (!late) world.clock.advance(HOUR_MS);
          if (!late) assert.equal(await eraseExpiredCredentials(storage, world.clock.now(), 100), 0);
          late = true;
          return connector.authenticate(request, signal);
        },
      },
    ]);
    await press(world);
    await runToTheEnd(world);
    assert.deepEqual(await statuses(world), [0, 0]);
  });

  if (engine === 'postgres')
    test('keeps the credentials that were to be erased in the moment in which it was asked for', async (t) => {
      const storage = await open(t);
      const { connector } = drivenBank();
      const world = await createWorld(storage, [
        { ...connector, authenticate: async () => ({ kind: 'failed', status: 1003, info: null }) },
      ]);
      const { itemId } = await press(world);
      await world.run();
      world.clock.advance(HOUR_MS);
      let erasing: Promise<number> | null = null;
      const isWaiting = async () =>
        (await storage.first(sql`select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`)) !==
        undefined;
      const atItsCommit: Storage = {
        ...storage,
        transaction: (work, options) =>
          storage.transaction(async (tx) => {
            const result = await work(tx);
            erasing = eraseExpiredCredentials(storage, world.clock.now(), 100);
            while (!(await isWaiting()));
            return result;
          }, options),
      };
      await refreshItem({ ...world.services, storage: atItsCommit }, itemId, 'api');
      assert.equal(await erasing, 0);
      assert.notEqual((await findItem(storage, itemId))!.credentials, null);
    });
});
