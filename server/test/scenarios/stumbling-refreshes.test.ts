/**
 * A database that fails once, at any call that a refresh makes: rows, counts and events are right, nothing that the bank gave is
 * lost, it is told no code twice, and no login is uncounted.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../../src/base/clock.ts';
import type { Authentication, Connector } from '../../src/connectors/connector.ts';
import { answerRefresh, connectItem, refreshItem } from '../../src/refresh/connection.ts';
import { readItemSchedule } from '../../src/refresh/schedule/read.ts';
import { createCounters } from '../../src/storage/counters.ts';
import { sql } from '../../src/storage/sql.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { DRIVEN_BANK, type DrivenBank, drivenBank, type Payment } from '../support/driven-bank.ts';
import { eachEngine } from '../support/engines.ts';
import { Stumbled, stumbling } from '../support/stumbling.ts';
import { APPLICATION, createWorld, START, USER, type World } from '../support/world.ts';

const LOGIN = { USER: 'somebody', PWD: 'any' };
/** Days since 1970. */
const TODAY = Math.floor(START / DAY_MS);
/** One, for a search: then every call fails once. */
const CALLS_APART = 29;

const SMS: Authentication = {
  kind: 'challenge',
  challenge: { type: 'SMS', label: 'code', description: null, isNumeric: true, lifetimeMs: 5 * MINUTE_MS },
  state: 'sent',
};

type Counts = { nb_new_transactions: number; nb_updated_transactions: number; nb_deleted_transactions: number };

/** Sends a code to whoever comes without its token, takes each code once, and gives a new token at each login, good for the next one only. */
function jealousBank({ connector }: DrivenBank, now: () => number) {
  const logins: number[] = [];
  const codes: string[] = [];
  const jealous: Connector = {
    ...connector,
    bank: { ...connector.bank, access: { callsPerDay: null, loginsPerDay: 40 } },
    authenticate: async ({ kept, answer, attended, credentials }) => {
      const goesOn = answer !== null && answer.code !== null;
      if (!goesOn) logins.push(now());
      const isKnown = logins.length > 1 && kept === logins.length - 1;
      if (!isKnown && !attended) return { kind: 'failed', status: 1010, info: null };
      if (!isKnown && !goesOn) return SMS;
      if (goesOn) codes.push(answer.code!);
      return { kind: 'authenticated', session: credentials.USER!, keep: logins.length };
    },
  };
  return { logins, codes, connector: jealous };
}

function payments(bank: DrivenBank): Payment[] {
  const all = bank.payments(LOGIN.USER);
  const pay = (account: Payment['account'], day: number, minor: number, label: string, bookedOn: number | null) =>
    all.push({ account, day, minor, label, bookedOn });
  for (let days = 40; days > 0; days -= 8) pay('first', TODAY - days, -100 - days, `OLD ${days}`, TODAY - days);
  pay('second', TODAY - 3, -900, 'OTHER', TODAY - 3);
  pay('first', TODAY, -700, 'HOLD', TODAY + 1);
  pay('first', TODAY, -701, 'LAPSES', null);
  return all;
}

/** Answers how many calls the story makes. */
async function story(real: Storage, fails: number, after: boolean): Promise<number> {
  const driven = drivenBank();
  const bank = jealousBank(driven, () => world.clock.now());
  const shown = payments(driven);
  const world: World = await createWorld(real, [bank.connector]);
  const { storage, calls } = stumbling(real, fails, { after, within: true });
  Object.assign(world.services, { storage, counters: createCounters(storage) });

  /** As those do who asked: they see a failure, and ask again. */
  const insisting = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof Stumbled)) throw error;
      world.clock.advance(1_000);
      return work();
    }
  };
  const untilNothingIsOpen = async () => {
    for (let minute = 0; minute < 60; minute += 1) {
      await insisting(() => world.run());
      const open = await real.first<{ id: string; item_id: number; state: string }>(
        sql`select id, item_id, state from refreshes where finished_at is null`,
      );
      if (!open) return;
      if (open.state === 'info_required')
        await insisting(() => answerRefresh(world.services, open.id, open.item_id, `${100_000 + bank.codes.length}`));
      else world.clock.advance(MINUTE_MS);
    }
    assert.fail(`${calls.failed}: still open`);
  };

  const sessionId = await world.session();
  calls.on = true;
  const request = { sessionId, applicationId: APPLICATION, userUuid: USER, bankId: DRIVEN_BANK, credentials: LOGIN, clockOffsetMs: 0 };
  const connected = await insisting(() => connectItem(world.services, request));
  assert.ok(typeof connected !== 'string');
  const { itemId } = connected;
  await untilNothingIsOpen();
  shown.push({ account: 'second', day: TODAY, minor: -33, label: 'NEW', bookedOn: TODAY });
  await insisting(() => refreshItem(world.services, itemId, 'api'));
  await untilNothingIsOpen();
  for (let hours = 0; hours < 36; hours += 3) {
    world.clock.advance(3 * HOUR_MS);
    await insisting(() => world.run());
  }
  await untilNothingIsOpen();
  calls.on = false;

  const where = `call ${fails}, ${calls.failed}, ${after ? 'after' : 'before'} it was done`;
  const now = world.clock.now();
  const madeIn24h = bank.logins.filter((at) => at > now - DAY_MS).length;
  const { loginsIn24h } = (await readItemSchedule({ ...world.services, storage: real }, APPLICATION, itemId, now))!;
  assert.ok(loginsIn24h >= madeIn24h, `${where}: ${loginsIn24h} of ${madeIn24h} logins are counted`);
  assert.equal(bank.codes.length, 1, `${where}: the user was asked for a code once`);
  assert.notEqual((await real.first<{ due_at: number | null }>(sql`select due_at from items`))!.due_at, null, where);

  const events = await world.events();
  const contents = <T>(type: string) => events.filter((event) => event.type === type).map(({ content }) => JSON.parse(content) as T);
  assert.deepEqual(
    [
      contents('item.created').length,
      contents('item.account.created').length,
      new Set(contents<{ status_code: number }>('item.refreshed').map((one) => one.status_code)),
    ],
    [1, 2, new Set([0])],
    where,
  );
  const rows = await real.all<{ account: string; minor: number; is_deleted: number }>(sql`
    select accounts.identity as account, amount_minor as minor, is_deleted from transactions join accounts on accounts.id = account_id`);
  const today = Math.floor(now / DAY_MS);
  const live = ({ bookedOn, day }: Payment) => (bookedOn === null ? day + 5 >= today : true);
  assert.deepEqual(
    rows
      .filter((row) => row.is_deleted === 0)
      .map(({ account, minor }) => `${account} ${minor}`)
      .sort(),
    shown
      .filter(live)
      .map(({ account, minor }) => `${account} ${minor}`)
      .sort(),
    where,
  );
  const told = contents<Counts>('item.account.updated');
  const sum = (of: keyof Counts) => told.reduce((total, counts) => total + counts[of], 0);
  const changes = (await real.first<{ count: number }>(sql`select count(*) as count from changes`))!.count;
  assert.deepEqual(
    [
      sum('nb_new_transactions'),
      sum('nb_deleted_transactions'),
      told.reduce(
        (total, counts) => total + counts.nb_new_transactions + counts.nb_updated_transactions + counts.nb_deleted_transactions,
        0,
      ),
    ],
    [rows.length, rows.filter((row) => row.is_deleted === 1).length, Number(changes)],
    where,
  );
  return calls.made;
}

eachEngine('refreshes on a database that fails once', (open) => {
  for (const after of [false, true]) {
    test(`at one call or another, ${after ? 'after' : 'before'} it was done`, async (t) => {
      for (let fails = after ? 3 : 1, made = fails; fails <= made; fails += CALLS_APART)
        await t.test(`call ${fails}`, async (t) => {
          made = await story(await open(t), fails, after);
        });
    });
  }
});
