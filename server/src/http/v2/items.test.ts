import assert from 'node:assert/strict';
import { refreshItem } from '../../refresh/connection.ts';
import { sql } from '../../storage/sql.ts';
import { addItem, openHouse, refused, stories } from './harness.ts';

stories('items', (story) => {
  story('items: list, one, refresh, refresh status, delete', async (house) => {
    const app = await house.application();
    const user = await app.user();
    await addItem(house.storage, { id: 101, applicationId: app.id, userUuid: user.uuid });
    await addItem(house.storage, { id: 102, applicationId: app.id, userUuid: user.uuid, status: 1010, info: 'OTP_REQUIRED' });
    const list = await app.get('/v2/items?limit=1', user.token);
    const { pagination } = (await list.json()) as { pagination: { next_uri: string } };
    assert.equal(pagination.next_uri, `/v2/items?after=${Buffer.from('102').toString('base64url')}&limit=1`);
    assert.equal(
      await (await app.get(pagination.next_uri, user.token)).text(),
      '{"resources":[{"id":101,"status":0,"status_code_info":"OK","status_code_description":null,"bank_id":574}],"pagination":{"next_uri":null}}',
    );
    const troubled = (await (await app.get('/v2/items/102', user.token)).json()) as { status_code_description: string };
    assert.match(troubled.status_code_description, /strong/);

    await refused(await app.get('/v2/items/101/refresh/status', user.token), 404, 'not_found');
    const refresh = await app.send('POST', '/v2/items/101/refresh', undefined, user.token);
    assert.equal(refresh.status, 202);
    assert.equal(refresh.headers.get('Location'), '/v2/items/101/refresh/status');
    assert.equal(refresh.headers.get('Content-Length'), '0');
    assert.equal(await refresh.text(), '');
    assert.deepEqual(house.asked.refresh, [101]);
    const challenge = JSON.stringify({ type: 'SMS', label: 'Code', description: null, isNumeric: true, pollMs: null, wrongAnswer: false });
    await house.storage.transaction((tx) =>
      tx.run(sql`
        insert into refreshes (id, item_id, application_id, user_uuid, cause, state, phase, challenge, run_at, started_at)
        values ('rfr_1', 101, ${app.id}, ${user.uuid}, 'api', 'info_required', 'incremental', ${challenge}, 0, 1690362662279)`),
    );
    assert.equal(
      await (await app.get('/v2/items/101/refresh/status', user.token)).text(),
      '{"id":"1690362662279","status":"info_required","refreshed_at":"2023-07-26T09:11:02.279Z",' +
        '"mfa":{"type":"SMS","description":null,"label":"Code","is_numeric":true},"refreshed_accounts_count":null,"total_accounts_count":null}',
    );

    assert.equal((await app.send('DELETE', '/v2/items/101', undefined, user.token)).status, 204);
    await refused(await app.get('/v2/items/101', user.token), 404, 'not_found');
  });

  story('an item that is erased while its refresh is asked for is not there, and neither is the refresh', async ({ storage }) => {
    const house = openHouse(storage, {
      requestRefresh: async (itemId) => {
        await storage.transaction((tx) => tx.run(sql`delete from items where id = ${itemId}`));
        return refreshItem({ storage, clock: house.clock }, itemId, 'api');
      },
    });
    const app = await house.application();
    const user = await app.user();
    await addItem(storage, { id: 103, applicationId: app.id, userUuid: user.uuid });
    await refused(await app.send('POST', '/v2/items/103/refresh', undefined, user.token), 404, 'not_found');
  });
});
