/** Why a count is what it is: read through the management API after refreshes of a bank that the test drives. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { DAY_MS, HOUR_MS } from '../../src/base/clock.ts';
import { sql } from '../../src/storage/sql.ts';
import { DRIVEN_BANK, drivenBank, type Payment } from '../support/driven-bank.ts';
import { eachEngine } from '../support/engines.ts';
import { managementOf } from '../support/management.ts';
import { createWorld, START } from '../support/world.ts';

const TODAY = Math.floor(START / DAY_MS);
const HALF_DAY = 12 * HOUR_MS + 40 * 60_000;
const paid = (day: number, minor: number, label: string): Payment => ({
  account: 'first',
  day: TODAY + day,
  minor,
  label,
  bookedOn: TODAY + day,
});

type Refresh = {
  id: string;
  trigger: string;
  traceparent: string;
  nb_new_transactions: number;
  explanation: string[];
  accounts: { explanation: string[]; same_as: string | null; held: object }[];
};
type Change = {
  account_id: number;
  kind: string;
  stage: string;
  evidence: object;
  before: object | null;
  after: object | null;
  explanation: string;
};
type List<Name extends string, Row> = { [Key in Name]: Row[] } & { next: string | null };

eachEngine('reasons', (open) => {
  async function begin(t: Parameters<typeof open>[0]) {
    const bank = drivenBank();
    const world = await createWorld(await open(t), [bank.connector]);
    const call = managementOf(world);
    bank.payments('one').push(...Array.from({ length: 12 }, (_, at) => paid(-at, -1_000 - at, `SHOP ${at}`)));
    const itemId = await world.connect(DRIVEN_BANK, { USER: 'one', PWD: 'any' });
    const next = async (hours = HALF_DAY) => {
      world.clock.advance(hours);
      await world.run();
      const { refreshes } = await call<List<'refreshes', Refresh>>(200, 'GET', `/api/v1/items/${itemId}/refreshes?limit=1`);
      return call<Refresh>(200, 'GET', `/api/v1/refreshes/${refreshes[0]!.id}`);
    };
    const changesOf = (id: string) => call<List<'changes', Change>>(200, 'GET', `/api/v1/refreshes/${id}/changes`);
    return { bank, world, call, itemId, next, changesOf };
  }

  test('refreshes are listed newest first, page by page, and only to their application', async (t) => {
    const { call, itemId, next, world } = await begin(t);
    for (let count = 0; count < 3; count += 1) await next();
    const seen: Refresh[] = [];
    let after = '';
    for (;;) {
      const page = await call<List<'refreshes', Refresh>>(200, 'GET', `/api/v1/items/${itemId}/refreshes?limit=2${after}`);
      seen.push(...page.refreshes);
      if (page.next === null) break;
      after = `&after=${page.next}`;
    }
    assert.deepEqual(
      seen.map(({ trigger }) => trigger),
      ['scheduler', 'scheduler', 'scheduler', 'completion', 'connect'],
    );
    assert.equal(seen.at(-1)!.nb_new_transactions, 12);
    assert.match(seen[0]!.traceparent, /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
    const event = (await world.events()).at(-1)!;
    const logged = await world.services.storage.first<{ traceparent: string }>(
      sql`select traceparent from events where lane = ${event.lane} and seq = ${event.seq}`,
    );
    assert.equal(logged!.traceparent, seen[0]!.traceparent);
    await world.services.storage.transaction((tx) => tx.run(sql`update refreshes set application_id = 'another'`));
    await call(404, 'GET', `/api/v1/refreshes/${seen[0]!.id}`);
    await call(404, 'GET', `/api/v1/refreshes/${seen[0]!.id}/changes`);
    await call(404, 'GET', `/api/v1/items/${itemId + 1}/refreshes`);
    await call(404, 'GET', '/api/v1/refreshes/rfr_none');
    await call(400, 'GET', `/api/v1/items/${itemId}/refreshes?after=made-up`);
  });

  test('a row that is updated, one that is new, and one that is gone say why, before and after', async (t) => {
    const { bank, next, changesOf } = await begin(t);
    const payments = bank.payments('one');
    payments.push({ account: 'second', day: TODAY, minor: -4_000, label: 'RESTAURANT', bookedOn: TODAY + 1 });
    const held = await next();
    assert.match(
      (await changesOf(held.id)).changes[0]!.explanation,
      /^\d+ new, pending -40 EUR of 2026-03-02: no stored row is left that it could be$/,
    );
    const booked = await next();
    const [change] = (await changesOf(booked.id)).changes;
    assert.equal(change!.kind, 'updated');
    assert.match(change!.explanation, /updated, booked -40 EUR .*1 day later.*\(status pending -> booked, date 2026-03-02 -> 2026-03-03/);
    assert.deepEqual((change!.before as { status: string }).status, 'pending');
    payments.splice(3, 1);
    const gone = await next();
    // The balance moved by exactly this row.
    assert.match((await changesOf(gone.id)).changes[0]!.explanation, /deleted, .*the balance moved by exactly the removal/);
    assert.match(gone.accounts[0]!.explanation.join(' '), /Counted: 0 new, 0 updated, 1 deleted\..* by the sum of the changes\./);
  });

  test('what is missing and kept is said, and an answer that was compared before names its comparison', async (t) => {
    const { bank, next } = await begin(t);
    const first = await next();
    assert.equal(first.accounts[0]!.same_as, null);
    const again = await next();
    assert.equal(again.accounts[0]!.same_as, first.id);
    assert.match(again.accounts[0]!.explanation.join(' '), new RegExp(`the same as in ${first.id}`));
    bank.silent = true;
    const silent = await next();
    assert.match(silent.accounts[0]!.explanation.join(' '), /Held: 12 booked rows missing for the first time/);
    const breaker = await next();
    assert.match(
      breaker.accounts[0]!.explanation.join(' '),
      /The breaker holds the deletion of 12 rows; the next refresh asks for everything\./,
    );
    assert.match(breaker.explanation.join(' '), /ended, with 4 calls to the bank: status 0/);
  });

  test("a customer's copy is reconciled by its digest, and row by row over pages", async (t) => {
    const { world, call } = await begin(t);
    const { storage } = world.services;
    const account = (await storage.first<{ account_id: number }>(sql`select account_id from transactions limit 1`))!.account_id;
    const path = `/api/v1/accounts/${account}/reconcile`;
    await storage.transaction((tx) =>
      tx.run(sql`update transactions set is_deleted = 1, deleted_at = 1 where id = (select max(id) from transactions)`),
    );
    const all = await storage.all<{ id: number; updated_at: number; is_deleted: number }>(
      sql`select id, updated_at, is_deleted from transactions order by id`,
    );
    const live = all.filter(({ is_deleted }) => is_deleted === 0);
    const hash = createHash('sha256')
      .update(live.map(({ id, updated_at }) => `${id}:${updated_at}\n`).join(''))
      .digest('hex');
    assert.deepEqual(await call(200, 'POST', path, { digest: hash }), { equal: true, digest: hash, count: 11 });
    assert.equal((await call<{ equal: boolean }>(200, 'POST', path, { digest: '0'.repeat(64) })).equal, false);

    const iso = (ms: number) => new Date(ms).toISOString();
    const copy = all.map(({ id, updated_at }) => ({ id, updated_at: iso(updated_at) }));
    const deleted = copy.at(-1)!;
    const [missing] = copy.splice(2, 1);
    copy[5] = { ...copy[5]!, updated_at: iso(1) };
    copy.push({ id: deleted.id + 1_000, updated_at: iso(1) });
    type Answer = { missing_at_yours: object[]; extra_at_yours: object[]; outdated_at_yours: object[]; next_after: number | null };
    const whole = await call<Answer>(200, 'POST', path, { transactions: copy, last: true });
    assert.deepEqual(whole.missing_at_yours, [missing]);
    assert.deepEqual(
      whole.outdated_at_yours,
      all.filter(({ id }) => id === copy[5]!.id).map(({ id, updated_at }) => ({ id, updated_at: iso(updated_at) })),
    );
    assert.deepEqual(whole.extra_at_yours, [
      { id: deleted.id, is_deleted: true, updated_at: deleted.updated_at },
      { id: deleted.id + 1_000, is_deleted: false, updated_at: null },
    ]);
    assert.equal(whole.next_after, null);

    const paged: Answer = { missing_at_yours: [], extra_at_yours: [], outdated_at_yours: [], next_after: 0 };
    while (paged.next_after !== null) {
      const rest = copy.filter(({ id }) => id > paged.next_after!);
      const page = await call<Answer>(200, 'POST', path, {
        transactions: rest.slice(0, 3),
        after: paged.next_after,
        last: rest.length <= 3,
      });
      for (const name of ['missing_at_yours', 'extra_at_yours', 'outdated_at_yours'] as const) paged[name].push(...page[name]);
      paged.next_after = page.next_after;
    }
    assert.deepEqual(paged, whole);
    await call(404, 'POST', '/api/v1/accounts/1/reconcile', { digest: hash });
    await call(400, 'POST', path, { transactions: copy.toReversed(), last: true });
    await call(400, 'POST', path, { transactions: [], last: false });
  });
});
