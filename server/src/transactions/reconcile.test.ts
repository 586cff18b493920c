import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { eachEngine } from '../../test/support/engines.ts';
import { measuring } from '../../test/support/explain.ts';
import { createWorld } from '../../test/support/world.ts';
import { demoBank } from '../connectors/sandbox/demo-bank.ts';
import { sql } from '../storage/sql.ts';
import type { Storage } from '../storage/storage.ts';
import { compareAccount, type Dated, digestOfAccount } from './reconcile.ts';

const FIRST_ID = 50_000_000_000_000;
/** Rows of the two accounts; every hundredth is of the one that is asked for, and of those each fifth is deleted. */
const ROWS = 20_000;
/** Rows that the customer sends at once. */
const SENT = 40;

/** An account whose rows lie among those of another, deleted and live; with statistics. Answers its id and its live rows. */
async function longAccount(storage: Storage): Promise<{ accountId: number; live: Dated[] }> {
  const world = await createWorld(storage, [demoBank()]);
  await world.connect(574, { USER: 'success', PWD: 'any' });
  const [asked, other] = await storage.all<{ id: number; user_uuid: string }>(sql`select id, user_uuid from accounts order by id limit 2`);
  await storage.transaction(async (tx) => {
    await tx.run(sql`delete from transactions`);
    await tx.run(sql`
      insert into transactions (id, account_id, user_uuid, status, amount_minor, amount_exponent, currency, date, date_source,
        bank_description, clean_description, category_id, is_deleted, created_at, updated_at)
      with recursive numbers (i) as (select cast(0 as bigint) union all select i + 1 from numbers where i + 1 < ${ROWS})
      select cast(${FIRST_ID} as bigint) + i, case when i % 100 = 0 then cast(${asked!.id} as bigint) else cast(${other!.id} as bigint) end,
        cast(${asked!.user_uuid} as text), 'booked', 100, 2, 'EUR', '2026-01-15', 'booking', 'A', 'A', 1, case when i % 500 = 0 then 1 else 0 end, 1, i
      from numbers`);
    await tx.run(sql`analyze`);
  });
  const live = Array.from({ length: ROWS }, (_, i) => i)
    .filter((i) => i % 100 === 0 && i % 500 !== 0)
    .map((i) => ({ id: FIRST_ID + i, updatedAt: i }));
  return { accountId: asked!.id, live };
}

eachEngine('a copy of a long account', (open) => {
  test('is compared and digested to its end without sorting, and without reading more than each page', async (t) => {
    const storage = await open(t);
    const { accountId, live } = await longAccount(storage);
    const expected = createHash('sha256').update(live.map(({ id, updatedAt }) => `${id}:${updatedAt}\n`).join(''));
    const digesting = measuring(storage);
    assert.deepEqual(await digestOfAccount(digesting, accountId), { digest: expected.digest('hex'), count: live.length });
    digesting.assertBounded(['transactions'], live.length);

    // The copy lacks one row, has one as it was before, and one that was deleted.
    const missing = live[70]!;
    const copy = live.filter((row) => row !== missing).map((row, at) => (at === 120 ? { ...row, updatedAt: 0 } : row));
    copy.push({ id: FIRST_ID + 500 * 20, updatedAt: 1 });
    copy.sort((a, b) => a.id - b.id);
    const comparing = measuring(storage);
    const found = { missing: [] as Dated[], extra: [] as number[], outdated: [] as number[] };
    for (let sent = 0, after = 0; ; ) {
      const theirs = copy.slice(sent, sent + SENT);
      const last = sent + SENT >= copy.length;
      const page = await compareAccount(comparing, accountId, { theirs, after, last });
      found.missing.push(...page.missing);
      found.extra.push(...page.extra.map(({ id }) => id));
      found.outdated.push(...page.outdated.map(({ id }) => id));
      if (page.through === null) break;
      after = page.through;
      sent = copy.filter(({ id }) => id <= after).length;
    }
    assert.deepEqual(found, { missing: [missing], extra: [FIRST_ID + 500 * 20], outdated: [copy[121]!.id] });
    comparing.assertBounded(['transactions'], SENT + 1);
  });
});
