import assert from 'node:assert/strict';
import { addAccount, addItem, addTransactions, follow, refused, stories } from './harness.ts';

stories('tenants', (story) => {
  story("another tenant's ids, and another user's, are 404 on every route", async (house) => {
    const app = await house.application();
    const owner = await app.user();
    await addItem(house.storage, { id: 601, applicationId: app.id, userUuid: owner.uuid });
    await addAccount(house.storage, { id: 6001, itemId: 601, userUuid: owner.uuid });
    await addTransactions(house.storage, { accountId: 6001, userUuid: owner.uuid }, [{ id: 60_001, date: '2023-07-26' }]);
    const other = await house.application();
    for (const [caller, token] of [
      [other, (await other.user()).token],
      [app, (await app.user()).token],
    ] as const) {
      for (const path of [
        '/v2/items/601',
        '/v2/items/601/refresh/status',
        '/v2/accounts/6001',
        '/v2/accounts?item_id=601',
        '/v2/accounts/6001/transactions',
        '/v2/accounts/6001/transactions/updated',
        '/v2/transactions/60001',
        '/v2/connect/items/edit?item_id=601',
        '/v2/connect/items/sync?item_id=601',
      ])
        await refused(await caller.get(path, token), 404, 'not_found');
      await refused(await caller.send('DELETE', '/v2/items/601', undefined, token), 404, 'not_found');
      await refused(await caller.send('POST', '/v2/items/601/refresh', undefined, token), 404, 'not_found');
      for (const path of ['/v2/items', '/v2/accounts', '/v2/transactions', '/v2/transactions/updated'])
        assert.equal((await follow(caller, path, token)).resources.length, 0);
    }
    await refused(await other.get(`/v2/users/${owner.uuid}`), 404, 'not_found');
    await refused(await other.send('DELETE', `/v2/users/${owner.uuid}`), 404, 'not_found');
    await refused(await other.send('POST', `/v2/users/${owner.uuid}/delete`, {}), 404, 'not_found');
    await refused(await other.send('POST', '/v2/authenticate', { user_uuid: owner.uuid }), 404, 'not_found');
    await other.send('DELETE', '/v2/users');
    assert.equal((await app.get('/v2/items/601', owner.token)).status, 200);
  });
});
