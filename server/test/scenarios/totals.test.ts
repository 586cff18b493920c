/** Totals: over any history the counts of events, the entries of `changes?after=`, and the rows of `updated?since=` are the same. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { DAY_MS, HOUR_MS } from '../../src/base/clock.ts';
import type { LoggedEvent } from '../../src/events/log.ts';
import { sql } from '../../src/storage/sql.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { listUpdatedTransactions } from '../../src/transactions/read.ts';
import { DRIVEN_BANK, type DrivenBank, drivenBank, type Payment } from '../support/driven-bank.ts';
import { eachEngine } from '../support/engines.ts';
import { managementOf } from '../support/management.ts';
import { createWorld, START, USER, type World } from '../support/world.ts';

type Entry = {
  event_id: string;
  refresh_id: string;
  account_id: number;
  n: number;
  transaction_id: number;
  kind: string;
  updated_at: string;
};
type Page = { changes: Entry[]; next: string; has_more: boolean };

const LOGINS = ['one', 'two', 'three'] as const;
const payment = fc.record({
  account: fc.constantFrom<Payment['account'][]>('first', 'second'),
  day: fc.integer({ min: -6, max: 0 }),
  minor: fc.constantFrom(-250, -250, -1_990, -4_200, 150_000),
  label: fc.constantFrom('CAFE DU PARC', 'CAFE DU PARC', 'LIBRAIRIE', 'STATION'),
  books: fc.constantFrom(0, 0, 1, 2, null),
});
const step = fc.record({
  hours: fc.constantFrom(7, 12, 13, 26, 49),
  login: fc.constantFrom(...LOGINS),
  payments: fc.array(payment, { maxLength: 4 }),
  happens: fc.constantFrom('nothing', 'nothing', 'withdrawal', 'tip', 'relabel', 'silence'),
  limit: fc.integer({ min: 1, max: 12 }),
});
const history = fc.record({ recreate: fc.boolean(), steps: fc.array(step, { minLength: 4, maxLength: 12 }) });
type History = {
  recreate: boolean;
  steps: {
    hours: number;
    login: (typeof LOGINS)[number];
    payments: { account: Payment['account']; day: number; minor: number; label: string; books: number | null }[];
    happens: string;
    limit: number;
  }[];
};

async function openWorld(storage: Storage, recreate: boolean): Promise<{ world: World; bank: DrivenBank }> {
  const bank = drivenBank();
  const world = await createWorld(storage, [bank.connector]);
  await storage.transaction((tx) => tx.run(sql`update applications set pending_transition = ${recreate ? 'recreate' : 'update'}`));
  return { world, bank };
}

/** What a step of the history does at the bank. */
function happen(bank: DrivenBank, { login, payments, happens }: History['steps'][number], now: number): void {
  const today = Math.floor(now / DAY_MS);
  const known = bank.payments(login);
  for (const { day, books, ...made } of payments)
    known.push({ ...made, day: today + day, bookedOn: books === null ? null : today + day + books });
  const last = known.findLastIndex(({ bookedOn }) => bookedOn !== null);
  if (happens === 'withdrawal' && last >= 0) known[last] = { ...known[last]!, day: today + 10_000 };
  if (happens === 'tip' && last >= 0) known[last] = { ...known[last]!, minor: Math.round(known[last]!.minor * 1.1) };
  if (happens === 'relabel')
    known.forEach((row, at) => {
      known[at] = { ...row, label: row.label.replace('CAFE', 'BAR CAFE') };
    });
  bank.silent = happens === 'silence';
}

function countsOf(event: LoggedEvent): { new: number; updated: number; deleted: number } {
  const content = JSON.parse(event.content) as Record<string, number>;
  return { new: content.nb_new_transactions!, updated: content.nb_updated_transactions!, deleted: content.nb_deleted_transactions! };
}

async function updatedSince(storage: Storage, since: number): Promise<number[]> {
  const ids: number[] = [];
  let after: { updatedAt: number; id: number } | null = null;
  for (;;) {
    const rows = await listUpdatedTransactions(storage, { userUuid: USER, accountId: null }, { since, after, limit: 7 });
    ids.push(...rows.map(({ id }) => id));
    if (rows.length < 7) return ids;
    after = rows.at(-1)!;
  }
}

async function play(storage: Storage, { recreate, steps }: History): Promise<number> {
  const { world, bank } = await openWorld(storage, recreate);
  const get = managementOf(world);
  for (const login of LOGINS) await world.connect(DRIVEN_BANK, { USER: login, PWD: 'any' });
  const entries: Entry[] = [];
  let after = '';
  const readOne = async (limit: number) => {
    const page = await get<Page>(200, 'GET', `/api/v1/changes?limit=${limit}${after === '' ? '' : `&after=${after}`}`);
    assert.ok(page.changes.length <= limit);
    entries.push(...page.changes);
    after = page.next;
    return page.has_more;
  };
  for (const taken of steps) {
    const before = (await world.events()).length;
    world.clock.advance(taken.hours * HOUR_MS);
    happen(bank, taken, world.clock.now());
    // Pages are read while refreshes of several items commit.
    await Promise.all([world.run(), readOne(taken.limit)]);
    for (const event of (await world.events()).slice(before)) {
      if (event.type !== 'item.account.updated') continue;
      const rows = await storage.first<{ n: number }>(
        sql`select count(*) as n from transactions where account_id = ${event.accountId} and updated_at = ${event.timestamp}`,
      );
      const counts = countsOf(event);
      assert.equal(Number(rows!.n), counts.new + counts.updated + counts.deleted);
    }
  }
  while (await readOne(5));

  const events = (await world.events()).filter(({ type }) => type === 'item.account.updated');
  assert.equal(new Set(entries.map(({ event_id, n }) => `${event_id} ${n}`)).size, entries.length, 'no entry comes twice');
  for (const event of events) {
    const own = entries.filter(({ event_id }) => event_id === event.id);
    const kinds = (...names: string[]) => own.filter(({ kind }) => names.includes(kind)).length;
    assert.deepEqual({ new: kinds('new'), updated: kinds('updated', 'resurrected'), deleted: kinds('deleted') }, countsOf(event));
    assert.deepEqual(
      own.map(({ n }) => n),
      own.map((_, at) => at + 1),
      'in their order, none skipped',
    );
    // Since the very timestamp of any event: inclusive, and no tie is lost.
    const period = entries.filter(({ updated_at }) => Date.parse(updated_at) >= event.timestamp);
    const rows = await updatedSince(storage, event.timestamp);
    assert.equal(new Set(rows).size, rows.length);
    assert.deepEqual(new Set(rows), new Set(period.map(({ transaction_id }) => transaction_id)));
  }
  assert.equal(
    entries.length,
    events.map(countsOf).reduce((sum, counts) => sum + counts.new + counts.updated + counts.deleted, 0),
  );
  return entries.length;
}

const RUNS = { sqlite: 12, postgres: 4 } as const;

eachEngine('totals', (open) => {
  test('the counts of events, the entries of changes, and the rows updated since are the same', async (t) => {
    let entries = 0;
    const first = await open(t);
    const numRuns = RUNS[first.engine];
    await fc.assert(
      fc.asyncProperty(history, async (told) => {
        entries += await play(await open(t), told);
      }),
      { numRuns, endOnFailure: true },
    );
    assert.ok(entries > numRuns * 5, `only ${entries} entries: the property says little`);
  });

  test('a hold that books keeps its id by default, and is deleted and recreated where the application wants it', async (t) => {
    for (const recreate of [false, true]) {
      const storage = await open(t);
      const { world, bank } = await openWorld(storage, recreate);
      const today = Math.floor(START / DAY_MS);
      bank.payments('one').push({ account: 'first', day: today, minor: -4_200, label: 'RESTAURANT', bookedOn: today + 2 });
      await world.connect(DRIVEN_BANK, { USER: 'one', PWD: 'any' });
      const rows = () =>
        storage.all<{ id: number; status: string; is_deleted: number }>(sql`select id, status, is_deleted from transactions order by id`);
      const [hold] = await rows();
      world.clock.advance(2 * DAY_MS + HOUR_MS);
      await world.run();
      const event = (await world.events()).filter(({ type }) => type === 'item.account.updated').at(-1)!;
      const changes = await storage.all<{ kind: string; stage: string }>(
        sql`select kind, stage from changes where refresh_id = ${event.refreshId} order by account_id, n`,
      );
      if (recreate) {
        assert.deepEqual(countsOf(event), { new: 1, updated: 0, deleted: 1 });
        assert.deepEqual(await rows(), [
          { ...hold, is_deleted: 1 },
          { id: (await rows())[1]!.id, status: 'booked', is_deleted: 0 },
        ]);
        assert.deepEqual(
          changes.map(({ kind }) => kind),
          ['new', 'deleted'],
        );
      } else {
        assert.deepEqual(countsOf(event), { new: 0, updated: 1, deleted: 0 });
        assert.deepEqual(await rows(), [{ ...hold, status: 'booked' }]);
        assert.deepEqual(
          changes.map(({ kind }) => kind),
          ['updated'],
        );
      }
      const before = (await world.events()).length;
      world.clock.advance(12 * HOUR_MS + 40 * 60_000);
      await world.run();
      assert.deepEqual(
        (await world.events()).slice(before).map(({ type }) => type),
        ['item.refreshed'],
        'and that is all',
      );
    }
  });
});
