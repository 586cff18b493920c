import assert from 'node:assert/strict';
import { MINUTE_MS } from '../../base/clock.ts';
import { addAccount, addItem, addTransactions, follow, refused, START, stories } from './harness.ts';

stories('transactions', (story) => {
  story('transactions: pages concatenate to the list, also where dates and moments are equal', async (house) => {
    const app = await house.application();
    const user = await app.user();
    await addItem(house.storage, { id: 301, applicationId: app.id, userUuid: user.uuid });
    for (const id of [3001, 3002]) await addAccount(house.storage, { id, itemId: 301, userUuid: user.uuid });
    const rows = Array.from({ length: 23 }, (_, i) => ({
      id: 36_000_070_521_000 + i,
      date: `2023-07-${String(1 + ((i * 7) % 4)).padStart(2, '0')}`,
      updatedAt: START + ((i * 5) % 3),
      deleted: i % 6 === 5,
    }));
    const elsewhere = { id: 1, date: '2023-07-02', updatedAt: START, deleted: false };
    await addTransactions(house.storage, { accountId: 3001, userUuid: user.uuid }, rows);
    await addTransactions(house.storage, { accountId: 3002, userUuid: user.uuid }, [elsewhere]);

    type Row = (typeof rows)[number];
    type Shown = { id: number; date: string; updated_at: string };
    const cases: [path: string, expected: Row[]][] = [
      ['/v2/transactions', [...rows, elsewhere].filter((row) => !row.deleted)],
      ['/v2/transactions/updated', [...rows, elsewhere]],
      ['/v2/accounts/3001/transactions', rows.filter((row) => !row.deleted)],
      ['/v2/accounts/3001/transactions/updated', rows],
      [
        '/v2/accounts/3001/transactions?since=2023-07-02&until=2023-07-03',
        rows.filter((row) => !row.deleted && row.date >= '2023-07-02' && row.date <= '2023-07-03'),
      ],
      [
        `/v2/transactions/updated?since=${encodeURIComponent(new Date(START + 1).toISOString())}`,
        rows.filter((row) => row.updatedAt >= START + 1),
      ],
    ];
    for (const [path, expected] of cases) {
      const join = path.includes('?') ? '&' : '?';
      const whole = await follow<Shown>(app, `${path}${join}limit=500`, user.token);
      assert.equal(whole.pages, 1);
      assert.deepEqual(new Set(whole.resources.map((row) => row.id)), new Set(expected.map((row) => row.id)), path);
      for (const limit of [1, 4, 19]) {
        house.clock.advance(MINUTE_MS);
        const { resources, uris } = await follow<Shown>(app, `${path}${join}limit=${limit}`, user.token);
        assert.deepEqual(resources, whole.resources, `${path} by ${limit}`);
        for (const uri of uris)
          assert.match(uri, new RegExp(`^${path.split('?')[0]}\\?after=[\\w-]+&limit=${limit}(&since=[^&]+)?(&until=[^&]+)?$`));
      }
      const updated = path.includes('updated');
      const keys = whole.resources.map((row) => `${updated ? row.updated_at : row.date} ${String(row.id).padStart(16, '0')}`);
      assert.deepEqual(keys, [...keys].sort().reverse());
      house.clock.advance(MINUTE_MS);
    }
    // The first moment of a calendar, in a zone where it is in the year before: the pages can be followed all the same.
    const all = await follow<Shown>(app, '/v2/transactions/updated?limit=20&since=0000-01-01T00:00:00%2B01:00', user.token);
    assert.equal(all.resources.length, rows.length + 1);
    const seen = await (await app.get('/v2/transactions/updated?limit=500&since=2023-07-26T11:10:16.059+02:00', user.token)).json();
    assert.equal((seen as { resources: object[] }).resources.length, rows.filter((row) => row.updatedAt > START).length);
    const body = await (await app.get('/v2/transactions?since=2030-01-01', user.token)).text();
    assert.match(body, /^\{"resources":\[\],"generated_at":"[^"]+Z","pagination":\{"next_uri":null\}\}$/);
  });

  story('a transaction has the recorded keys in the recorded order, with only the dates that are known', async (house) => {
    const app = await house.application();
    const user = await app.user();
    await addItem(house.storage, { id: 401, applicationId: app.id, userUuid: user.uuid });
    await addAccount(house.storage, { id: 4001, itemId: 401, userUuid: user.uuid });
    await addTransactions(house.storage, { accountId: 4001, userUuid: user.uuid }, [
      { id: 36_000_071_605_232, date: '2023-07-26' },
      { id: 36_000_071_605_233, date: '2023-07-26', bookingDate: '2023-07-26', status: 'scheduled', deleted: true, amountMinor: -1 },
    ]);
    assert.equal(
      await (await app.get('/v2/transactions/36000071605232', user.token)).text(),
      '{"id":36000071605232,"clean_description":"Cb Temporary Transaction","bank_description":"Cb temporary transaction","amount":-50,' +
        '"date":"2023-07-26","updated_at":"2023-07-26T09:10:16.058Z","currency_code":"EUR","category_id":306,"account_id":4001,' +
        '"show_client_side":true,"is_deleted":false,"is_future":false}',
    );
    const other = await (await app.get('/v2/transactions/36000071605233', user.token)).text();
    assert.match(other, /"amount":-0\.01,"date":"2023-07-26","booking_date":"2023-07-26","updated_at"/);
    assert.match(other, /"is_deleted":true,"is_future":true\}$/);
  });

  story('a bad cursor, limit, date or moment is 400', async (house) => {
    const app = await house.application();
    const { token } = await app.user();
    const forged = Buffer.from('2023-07-16').toString('base64url');
    for (const path of ['/v2/transactions', '/v2/transactions/updated', '/v2/items', '/v2/accounts'])
      for (const cursor of ['!', forged, 'MjAyMy0wNy0xNjozNjAwMDA3MDUyMTIxMQ==', ''])
        await refused(await app.get(`${path}?after=${cursor}`, token), 400, 'invalid_cursor');
    await refused(await app.get('/v2/users?after=NTkx'), 400, 'invalid_cursor');
    await refused(await app.get('/v2/banks?after=x'), 400, 'invalid_cursor');
    for (const query of ['limit=0', 'limit=501', 'limit=ten', 'limit=', 'since=2023-02-30', 'until=yesterday'])
      await refused(await app.get(`/v2/transactions?${query}`, token), 400, 'bad_request');
    for (const since of ['soon', '2023-02-30T00:00:00Z', '2023-04-31', '2023-01-01T25:00:00Z'])
      await refused(await app.get(`/v2/transactions/updated?since=${since}`, token), 400, 'bad_request');
    // Lists that are empty are no less strict.
    await refused(await app.get('/v2/stocks?after=NTkx%3D', token), 400, 'invalid_cursor');
    for (const path of ['/v2/stocks?limit=0', '/v2/stocks/updated?limit=501', '/v2/stocks/updated?since=soon'])
      await refused(await app.get(path, token), 400, 'bad_request');
  });
});
