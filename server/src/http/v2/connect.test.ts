import assert from 'node:assert/strict';
import { addItem, refused, stories } from './harness.ts';

stories('connect links', (story) => {
  story('connect: add, edit and sync answer a link, and refuse foreign banks, items and addresses', async (house) => {
    const app = await house.application({ redirectUrl: 'https://shop.example/back' });
    const { uuid, token } = await app.user();
    await addItem(house.storage, { id: 501, applicationId: app.id, userUuid: uuid });
    const add = (body: object) => app.send('POST', '/v2/connect/items/add', body, token);
    house.asked.connect.length = 0;
    const response = await add({
      prefill_email: 'john@doe.com',
      country: 'fr',
      redirect_url: null,
      context: 'abc-1',
      bank_id: 574,
      capabilities: null,
    });
    assert.equal(response.status, 200);
    assert.equal(await response.text(), '{"redirect_url":"http://127.0.0.1:4280/connect/session"}');
    await app.get('/v2/connect/items/edit?item_id=501&redirect_url=http%3A%2F%2Flocalhost%3A3000%2Fx&context=c', token, {
      'Accept-Language': 'fr',
    });
    await app.get('/v2/connect/items/sync?item_id=501', token);
    const asked = house.asked.connect.map(({ application, ...request }) => ({ ...request, application: application.id }));
    assert.deepEqual(asked, [
      {
        userUuid: uuid,
        purpose: 'add',
        language: 'en',
        redirectUrl: 'https://shop.example/back',
        context: 'abc-1',
        bankId: 574,
        country: 'FR',
        application: app.id,
      },
      {
        userUuid: uuid,
        purpose: 'edit',
        itemId: 501,
        bankId: 574,
        language: 'fr',
        redirectUrl: 'http://localhost:3000/x',
        context: 'c',
        application: app.id,
      },
      {
        userUuid: uuid,
        purpose: 'sync',
        itemId: 501,
        bankId: 574,
        language: 'en',
        redirectUrl: 'https://shop.example/back',
        application: app.id,
      },
    ]);
    assert.equal((await app.send('POST', '/v2/connect/items/add', undefined, token)).status, 200);
    for (const body of [
      { redirect_url: 'javascript:alert(1)' },
      { redirect_url: '/x' },
      { redirect_url: 'https://a:b@shop.example' },
      { context: 'a b' },
      { context: 'x'.repeat(101) },
      { country: 'FRA' },
      { bank_id: 'x' },
    ])
      await refused(await add(body), 400, 'bad_request');
    await refused(await add({ bank_id: 900 }), 404, 'not_found');
    await refused(await app.get('/v2/connect/items/edit', token), 400, 'bad_request');
    await refused(await app.get('/v2/connect/items/sync?item_id=999', token), 404, 'not_found');

    const production = await house.application({ environment: 'production', redirectUrl: 'https://shop.example/back' });
    const customer = await production.user();
    const addThere = (url: string) => production.send('POST', '/v2/connect/items/add', { redirect_url: url }, customer.token);
    assert.equal((await addThere('https://shop.example/elsewhere?x=1')).status, 200);
    await refused(await addThere('https://evil.example/back'), 422, 'unprocessable');
    await refused(await addThere('http://shop.example/back'), 422, 'unprocessable');

    for (const environment of ['sandbox', 'production'] as const) {
      const mobile = await house.application({ environment, redirectUrl: 'shop://back' });
      const { token: phone } = await mobile.user();
      const addFrom = (url: string) => mobile.send('POST', '/v2/connect/items/add', { redirect_url: url }, phone);
      assert.equal((await addFrom('shop://back')).status, 200);
      assert.equal(house.asked.connect.at(-1)!.redirectUrl, 'shop://back');
      await refused(await addFrom('shop://elsewhere'), 400, 'bad_request');
    }
  });
});
