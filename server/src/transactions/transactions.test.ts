import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { eachEngine } from '../../test/support/engines.ts';
import { createWorld } from '../../test/support/world.ts';
import { DAY_MS, isoDate } from '../base/clock.ts';
import { demoBank } from '../connectors/sandbox/demo-bank.ts';
import { sql } from '../storage/sql.ts';
import { rowsToCompare, type TransactionRecord, writeTransactions } from './transactions.ts';

type Row = { id: number; account_id: number; date: string; status: string; missing: number; deleted_at: number | null };

eachEngine('rows to compare', (open) => {
  test('are those of the window, and older ones that are open, but for what was deleted long ago', async (t) => {
    const storage = await open(t);
    const world = await createWorld(storage, [demoBank()]);
    await world.connect(574, { USER: 'success', PWD: 'any' });
    const now = world.clock.now();
    const since = isoDate(now - 40 * DAY_MS);
    const deletedAfter = now - 90 * DAY_MS;
    const all = () => storage.all<Row>(sql`select id, account_id, date, status, missing, deleted_at from transactions order by id`);
    const [largest] = await storage.all<{ account_id: number }>(
      sql`select account_id from transactions group by account_id order by count(*) desc limit 2`,
    );
    const account = largest!.account_id;
    // Every state at every age, over a year of rows.
    await storage.transaction(async (tx) => {
      for (const [index, { id }] of (await all()).filter((row) => row.account_id === account).entries()) {
        const status = index % 2 === 0 ? 'booked' : 'pending';
        const deletedAt = [null, now - DAY_MS, now - 100 * DAY_MS][index % 3]!;
        await tx.run(
          sql`update transactions set status = ${status}, missing = ${index % 5 === 0 ? 1 : 0}, deleted_at = ${deletedAt} where id = ${id}`,
        );
      }
    });
    const rows = (await all()).filter((row) => row.account_id === account);
    const expected = rows.filter(
      ({ date, status, missing, deleted_at }) =>
        (date >= since || status !== 'booked' || missing > 0) && (deleted_at === null || deleted_at > deletedAfter),
    );
    assert.ok(expected.some(({ date }) => date < since) && expected.length < rows.length / 1.5);
    const found = await rowsToCompare(storage, [{ id: account, since }], deletedAfter);
    assert.deepEqual(
      found.get(account)!.map(({ id }) => id),
      expected.map(({ id }) => id),
    );
    const whole = await rowsToCompare(storage, [{ id: account, since: null }], deletedAfter);
    assert.equal(whole.get(account)!.length, rows.filter(({ deleted_at }) => deleted_at === null || deleted_at > deletedAfter).length);
  });

  test('come back as they were written, the usual and the unusual', async (t) => {
    const storage = await open(t);
    const world = await createWorld(storage, [demoBank()]);
    await world.connect(574, { USER: 'success', PWD: 'any' });
    const { id: accountId, user_uuid: userUuid } = (await storage.first<{ id: number; user_uuid: string }>(
      sql`select id, user_uuid from accounts order by id limit 1`,
    ))!;
    await storage.transaction((tx) => tx.run(sql`delete from transactions`));
    const one = <const T>(...values: T[]) => fc.constantFrom(...values);
    const date = one('2026-01-31', '2026-02-01', '1900-01-01');
    const text = one(null, '', 'a', '[]', 'booked', 'EUR', '2026-01-31');
    const money = fc.record({ minor: one(0, -1_250), exponent: one(0, 2, 3), currency: one('EUR', 'JPY') }, { noNullPrototype: true });
    const record = fc.record({
      status: one('booked', 'pending', 'scheduled'),
      amount: money,
      date,
      dateSource: one('booking', 'transaction', 'value'),
      bookingDate: one(null, '2026-01-31', '2026-02-01'),
      valueDate: one(null, '2026-01-31', '2026-02-01'),
      transactionDate: one(null, '2026-01-31', '2026-02-01'),
      rawText: one('', 'CARD', 'null'),
      counterpartyName: text,
      counterpartyIban: text,
      endToEndId: text,
      providerId: text,
      aliases: one<string[]>([], ['a'], ['a', '[]']),
      balanceAfter: one<null | number>(null, 0, 7),
      missing: one(0, 1, 3),
      missingAt: one(null, 1_700_000_000_000),
      deletedAt: one(null, 1_700_000_000_000),
    });
    const records = fc.sample(record, { numRuns: 300, seed: 20_260_127 }).map(
      (made, index): TransactionRecord => ({
        ...made,
        id: index + 1,
        balanceAfter: made.balanceAfter === null ? null : { ...made.amount, minor: made.balanceAfter },
      }),
    );
    await storage.transaction((tx) =>
      writeTransactions(
        tx,
        records.map((written) => ({ userUuid, accountId, record: written, presentation: null, updatedAt: 1 })),
      ),
    );
    assert.deepEqual((await rowsToCompare(storage, [{ id: accountId, since: null }], 0)).get(accountId), records);
  });
});
