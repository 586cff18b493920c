import assert from 'node:assert/strict';
import { addAccount, addItem, follow, refused, stories } from './harness.ts';

stories('accounts', (story) => {
  story('accounts: the list without deleted ones, one with them, key order, unknown balance', async (house) => {
    const app = await house.application();
    const user = await app.user();
    const owner = { applicationId: app.id, userUuid: user.uuid };
    await addItem(house.storage, { id: 201, ...owner });
    await addItem(house.storage, { id: 202, ...owner });
    await addAccount(house.storage, { id: 2001, itemId: 201, userUuid: user.uuid });
    await addAccount(house.storage, { id: 2002, itemId: 201, userUuid: user.uuid, deleted: true });
    await addAccount(house.storage, {
      id: 2003,
      itemId: 202,
      userUuid: user.uuid,
      balance: null,
      savings: '{"ceiling":22950,"interest_rate":3,"opening_date":null}',
    });
    const all = await follow<{ id: number; balance: number }>(app, '/v2/accounts?limit=1', user.token);
    assert.deepEqual(
      all.resources.map((account) => account.id),
      [2003, 2001],
    );
    assert.equal(all.resources[0]!.balance, 0);
    assert.equal(
      await (await app.get('/v2/accounts/2001', user.token)).text(),
      '{"id":2001,"name":"Compte Courant 1","balance":1201.46,"status":0,"status_code_info":"OK","status_code_description":null,' +
        '"updated_at":"2023-07-26T09:10:16.058Z","type":"checking","is_paused":false,"currency_code":"EUR","item_id":201,"bank_id":574,' +
        '"loan_details":null,"savings_details":null,"is_pro":false,"iban":"FR6914508000303386763591H62"}',
    );
    assert.match(
      await (await app.get('/v2/accounts/2003', user.token)).text(),
      /"savings_details":\{"opening_date":null,"interest_rate":3,"ceiling":22950\}/,
    );
    assert.equal((await app.get('/v2/accounts/2002', user.token)).status, 200);
    const ofItem = await app.get('/v2/accounts?item_id=201&limit=500', user.token);
    assert.equal(((await ofItem.json()) as { resources: object[] }).resources.length, 1);
    await refused(await app.get('/v2/accounts?item_id=999', user.token), 404, 'not_found');
    await refused(await app.get('/v2/accounts?item_id=x', user.token), 400, 'bad_request');
  });
});
