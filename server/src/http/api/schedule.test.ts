/** The test clock and the schedule over the API. */
import assert from 'node:assert/strict';
import { sql } from '../../storage/sql.ts';
import { refused, START, stories } from './harness.ts';

const USER = '766b2f5d-a942-492c-9ea7-2e5aa88cb672';
const DAY_MS = 86_400_000;
const iso = (ms: number) => new Date(ms).toISOString();

stories('the test clock over the API', (story) => {
  story('goes forward by a duration or to a moment, and shows where it stands', async (house) => {
    const tenant = await house.application();
    assert.deepEqual(await tenant.read('/api/v1/sandbox/clock'), { now: iso(START), ahead_ms: 0 });
    const month = await tenant.send('POST', '/api/v1/sandbox/clock', { advance: '30d' });
    assert.equal(month.status, 200);
    assert.deepEqual(await month.json(), { from: iso(START), now: iso(START + 30 * DAY_MS), refreshes: 0, events: 0 });
    const to = await tenant.send('POST', '/api/v1/sandbox/clock', { to: '2023-12-24T08:00:00Z' });
    assert.equal(((await to.json()) as { now: string }).now, '2023-12-24T08:00:00.000Z');
    const shown = await tenant.read<{ now: string; ahead_ms: number }>('/api/v1/sandbox/clock');
    assert.deepEqual(shown, { now: '2023-12-24T08:00:00.000Z', ahead_ms: Date.parse('2023-12-24T08:00:00Z') - START });
  });

  story('two at once follow one another', async (house) => {
    const tenant = await house.application();
    const answers = await Promise.all(['2d', '3d'].map((advance) => tenant.send('POST', '/api/v1/sandbox/clock', { advance })));
    assert.deepEqual(
      answers.map(({ status }) => status),
      [200, 200],
    );
    assert.equal((await tenant.read<{ ahead_ms: number }>('/api/v1/sandbox/clock')).ahead_ms, 5 * DAY_MS);
  });

  story('refuses what it cannot do, in words', async (house) => {
    const tenant = await house.application();
    const post = (body: unknown) => tenant.send('POST', '/api/v1/sandbox/clock', body);
    assert.match(await refused(await post({}), 400, 'bad_request'), /either/);
    assert.match(await refused(await post({ advance: '1d', to: '2030-01-01T00:00:00Z' }), 400, 'bad_request'), /either/);
    assert.match(await refused(await post({ advance: 'soon' }), 400, 'bad_request'), /30d/);
    assert.match(await refused(await post({ to: '2030-01-01' }), 400, 'bad_request'), /time zone/);
    assert.match(await refused(await post({ to: '2020-01-01T00:00:00Z' }), 400, 'bad_request'), /forward only/);
    assert.match(await refused(await post({ advance: '600w' }), 400, 'bad_request'), /at most 1830 days/);
    await refused(await post({ forward: '1d' }), 400, 'bad_request');
    await house.storage.transaction((tx) => tx.run(sql`update applications set environment = 'production'`));
    assert.match(await refused(await post({ advance: '1d' }), 403, 'forbidden'), /Only a sandbox/);
    await refused(await tenant.get('/api/v1/sandbox/clock'), 403, 'forbidden');
  });
});

stories('the schedule over the API', (story) => {
  story("says when an item is due, when asking makes sense, and what is left; another's item does not exist", async (house) => {
    const [tenant, other] = [await house.application(), await house.application()];
    await house.storage.transaction(async (tx) => {
      await tx.run(sql`insert into users (uuid, application_id, created_at) values (${USER}, ${tenant.id}, 0)`);
      await tx.run(sql`
        insert into items (id, application_id, user_uuid, bank_id, status, data_key_id, due_at, created_at, schedule, consent_expires_at)
        values (7, ${tenant.id}, ${USER}, 1, 0, 'k', ${START + 1_000}, 0, '{"f":2}', ${START + 6 * DAY_MS + 1})`);
      await tx.run(sql`
        insert into accounts (id, item_id, user_uuid, bank_id, identity, name, type, currency, created_at, updated_at)
        values (9, 7, ${USER}, 1, 'one', 'One', 'checking', 'EUR', 0, 0)`);
    });
    const schedule = await tenant.read('/api/v1/items/7/schedule');
    assert.deepEqual(schedule, {
      item_id: 7,
      next_refresh_at: iso(START + 1_000),
      next_refresh_possible_at: iso(START),
      refreshes_per_day: 0,
      bands: [
        { from: '03:00', to: '09:00' },
        { from: '15:00', to: '21:00' },
      ],
      failures_in_a_row: 2,
      credentials_refused: false,
      bank_suspended: null,
      consent: { expires_at: iso(START + 6 * DAY_MS + 1), days_left: 6, notice_days: 7 },
      logins: { in_24h: 0, limit: 12 },
      bank_calls: {
        per_day: 4,
        accounts: [
          {
            account_id: 9,
            balances: { left: 4, left_for_scheduler: 3 },
            transactions: { left: 4, left_for_scheduler: 3 },
            possible_at: iso(START),
          },
        ],
      },
    });
    await refused(await other.get('/api/v1/items/7/schedule'), 404, 'not_found');
    await refused(await tenant.get('/api/v1/items/seven/schedule'), 404, 'not_found');
  });

  story('an application has its own bands, or the default ones', async (house) => {
    const tenant = await house.application();
    const patch = (bands: unknown) => tenant.send('PATCH', '/api/v1/schedule', { bands });
    assert.equal((await tenant.read<{ is_default: boolean }>('/api/v1/schedule')).is_default, true);
    const own = await patch([
      { from: '18:00', to: '24:00' },
      { from: '04:30', to: '06:00' },
    ]);
    assert.equal(own.status, 200);
    assert.deepEqual(await tenant.read('/api/v1/schedule'), {
      bands: [
        { from: '04:30', to: '06:00' },
        { from: '18:00', to: '24:00' },
      ],
      is_default: false,
    });
    assert.match(await refused(await patch([{ from: '6h', to: '08:00' }]), 400, 'bad_request'), /04:30/);
    assert.match(await refused(await patch([{ from: '24:30', to: '25:00' }]), 400, 'bad_request'), /04:30/);
    assert.match(await refused(await patch([{ from: '08:00', to: '06:00' }]), 400, 'bad_request'), /begin before/);
    assert.match(await refused(await patch([]), 400, 'bad_request'), /1 to 8/);
    assert.equal((await patch(null)).status, 200);
    assert.equal((await tenant.read<{ is_default: boolean }>('/api/v1/schedule')).is_default, true);
  });
});
