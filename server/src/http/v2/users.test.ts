import assert from 'node:assert/strict';
import { HOUR_MS } from '../../base/clock.ts';
import { sql, sqlText } from '../../storage/sql.ts';
import { addAccount, addItem, addTransactions, follow, refused, stories } from './harness.ts';

stories('users', (story) => {
  story('users are made in three forms, conflict, are listed, found and deleted', async (house) => {
    const app = await house.application();
    const anonymous = (await (await app.send('POST', '/v2/users')).json()) as object;
    assert.deepEqual(Object.keys(anonymous), ['uuid', 'external_user_id']);
    const external = await app.send('POST', '/v2/users', { external_user_id: 'customer-1' });
    assert.equal(external.status, 201);
    const { uuid } = (await external.json()) as { uuid: string };
    await refused(await app.send('POST', '/v2/users', { external_user_id: 'customer-1' }), 409, 'conflict');
    const john = await app.send('POST', '/v2/users', { email: 'john@doe.com', password: 'password' });
    const johnBody = await john.text();
    assert.match(johnBody, /^\{"uuid":"[0-9a-f-]{36}","email":"john@doe.com"\}$/);
    const conflict = await app.send('POST', '/v2/users', { email: 'john@doe.com', password: 'password' });
    assert.equal(((await conflict.clone().json()) as { message: string }).message, 'A user with email john@doe.com already exists');
    await refused(conflict, 409, 'conflict');

    const one = await app.get(`/v2/users/${uuid}`);
    assert.equal(await one.text(), `{"uuid":"${uuid}","external_user_id":"customer-1"}`);
    const { resources, pages } = await follow<{ uuid: string }>(app, '/v2/users?limit=2');
    assert.equal(pages, 2);
    assert.equal(new Set(resources.map((user) => user.uuid)).size, 3);

    const { uuid: johnUuid } = JSON.parse(johnBody) as { uuid: string };
    const deleted = await app.send('POST', `/v2/users/${johnUuid}/delete`, { password: 'anything' });
    assert.equal(deleted.status, 204);
    assert.equal(await deleted.text(), '');
    assert.equal((await app.send('DELETE', `/v2/users/${uuid}`)).status, 204);
    await refused(await app.get(`/v2/users/${uuid}`), 404, 'not_found');
    await refused(await app.send('DELETE', `/v2/users/${uuid}`), 404, 'not_found');
    await refused(await app.get('/v2/users/not-a-uuid'), 404, 'not_found');

    assert.equal((await app.send('DELETE', '/v2/users')).status, 204);
    assert.equal(await (await app.get('/v2/users')).text(), '{"resources":[],"pagination":{"next_uri":null}}');
    const production = await house.application({ environment: 'production' });
    await refused(await production.send('DELETE', '/v2/users'), 403, 'forbidden');
  });

  story('authenticating by uuid, external id and email; a token ends after two hours or with logout', async (house) => {
    const app = await house.application();
    await app.send('POST', '/v2/users', { email: 'john@doe.com', password: 'password' });
    await app.send('POST', '/v2/users', { external_user_id: 'customer-1' });
    const response = await app.send('POST', '/v2/authenticate', { email: 'john@doe.com', password: 'password' });
    assert.equal(response.status, 200);
    const issued = (await response.json()) as { access_token: string; expires_at: string; user: object };
    assert.deepEqual(Object.keys(issued), ['access_token', 'expires_at', 'user']);
    assert.deepEqual(Object.keys(issued.user), ['uuid', 'email']);
    assert.match(issued.access_token, /^[0-9a-f]{40}-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/);
    assert.equal(issued.expires_at, new Date(house.clock.now() + 2 * HOUR_MS).toISOString());
    const stored = await house.storage.all(sql`select digest from access_tokens`);
    assert.ok(!JSON.stringify(stored).includes(issued.access_token));

    await refused(
      await app.send('POST', '/v2/authenticate', { email: 'john@doe.com', password: 'wrong one' }),
      401,
      'invalid_user_credentials',
    );
    await refused(
      await app.send('POST', '/v2/authenticate', { email: 'no@body.com', password: 'password' }),
      401,
      'invalid_user_credentials',
    );
    await refused(await app.send('POST', '/v2/authenticate', { external_user_id: 'nobody' }), 404, 'not_found');
    await refused(await app.send('POST', '/v2/authenticate', {}), 400, 'bad_request');
    const external = await app.send('POST', '/v2/authenticate', { external_user_id: 'customer-1' });
    assert.deepEqual(Object.keys(((await external.json()) as { user: object }).user), ['uuid', 'external_user_id']);

    const other = await house.application();
    await refused(await other.get('/v2/items', issued.access_token), 401, 'invalid_access_token');
    const confirmation = await app.get('/v2/users/me/email/confirmation', issued.access_token);
    assert.equal(await confirmation.text(), '{"name":"email","is_confirmed":true}');
    house.clock.advance(2 * HOUR_MS - 1);
    assert.equal((await app.get('/v2/items', issued.access_token)).status, 200);
    house.clock.advance(1);
    await refused(await app.get('/v2/items', issued.access_token), 401, 'invalid_access_token');

    const { token } = await app.user();
    assert.equal((await app.send('POST', '/v2/logout', undefined, token)).status, 204);
    await refused(await app.get('/v2/items', token), 401, 'invalid_access_token');
  });

  story('a user who is deleted while their password is compared is unknown', async (house) => {
    const app = await house.application();
    const credentials = { email: 'john@doe.com', password: 'password' };
    const { uuid } = (await (await app.send('POST', '/v2/users', credentials)).json()) as { uuid: string };
    // The comparing takes many times as long as the deletion.
    const [authenticated, deleted] = await Promise.all([
      app.send('POST', '/v2/authenticate', credentials),
      app.send('DELETE', `/v2/users/${uuid}`),
    ]);
    assert.equal(deleted.status, 204);
    await refused(authenticated, 401, 'invalid_user_credentials');
    assert.deepEqual(house.asked.failures, []);
  });

  story('deleting a user erases all that was theirs, and nothing of another', async (house) => {
    const app = await house.application();
    const gone = await app.user();
    const stays = await app.user();
    for (const [user, id] of [
      [gone, 701],
      [stays, 702],
    ] as const) {
      await addItem(house.storage, { id, applicationId: app.id, userUuid: user.uuid });
      await addAccount(house.storage, { id: id * 10, itemId: id, userUuid: user.uuid });
      await addTransactions(house.storage, { accountId: id * 10, userUuid: user.uuid }, [{ id: id * 100, date: '2023-07-26' }]);
    }
    assert.equal((await app.send('DELETE', `/v2/users/${gone.uuid}`)).status, 204);
    for (const table of ['items', 'accounts', 'transactions', 'access_tokens']) {
      const rows = await house.storage.all<{ user_uuid: string }>(sql`select user_uuid from ${sqlText(table)}`);
      assert.deepEqual([...new Set(rows.map((row) => row.user_uuid))], [stays.uuid], table);
    }
    assert.equal(await house.storage.first(sql`select id from data_keys where id = 'key_701'`), undefined);
    await refused(await app.get('/v2/items', gone.token), 401, 'invalid_access_token');
    assert.equal((await app.get('/v2/transactions/70200', stays.token)).status, 200);
  });
});
