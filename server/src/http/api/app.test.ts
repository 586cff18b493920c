import assert from 'node:assert/strict';
import { eventId, laneOf } from '../../events/log.ts';
import { ROUTES } from './app.ts';
import { addEvents, openHouse, refused, START, stories } from './harness.ts';

const firstOf = (itemId: number) => eventId(laneOf(`item:${itemId}`), 1);

stories('the edge of the management API', (story) => {
  story('credentials are asked for on every path, and no version', async (house) => {
    const app = await house.application();
    const path = `/api/v1/events/${firstOf(1)}`;
    await addEvents(house.storage, app, [1]);
    assert.equal((await app.get(path)).status, 200);
    await refused(await house.fetch(path), 401, 'invalid_client_credentials');
    await refused(await app.get(path, { 'Client-Secret': 'wrong' }), 401, 'invalid_client_credentials');
    const other = await house.application();
    await refused(await app.get(path, { 'Client-Secret': other.clientSecret }), 401, 'invalid_client_credentials');
  });

  story('unknown paths are 404, other methods 405; nothing is kept by a cache', async (house) => {
    const app = await house.application();
    await refused(await app.get('/api/v1/nothing'), 404, 'not_found');
    await refused(await app.get('/api/v1'), 404, 'not_found');
    const wrong = await app.send('PUT', `/api/v1/events/${firstOf(1)}`);
    assert.equal(wrong.headers.get('Allow'), 'GET');
    assert.match(wrong.headers.get('Cache-Control') ?? '', /no-store/);
    await refused(wrong, 405, 'method_not_allowed');
  });

  story('U+0000 in a path leads nowhere, and in a query is refused, on every route', async (house) => {
    const app = await house.application();
    let asked = 0;
    for (const { method, path } of ROUTES.filter((route) => route.path.includes(':'))) {
      const response = await app.send(method, path.replace(/:\w+/, 'a%00b'), method === 'GET' ? undefined : {});
      await refused(response, 404, 'not_found');
      asked += 1;
    }
    assert.ok(asked > 20, String(asked));
    for (const query of [
      'attempts?type=%00&item_id=7',
      'attempts?webhook_id=a%00',
      'attempts?after=%00',
      'events?types=%00',
      'changes?after=%00',
    ])
      await refused(await app.get(`/api/v1/${query}`), 400, 'bad_request');
    assert.deepEqual(house.failures, []);
  });

  story('an application may call 2,000 times in 5 minutes, an address without credentials 60 times in one', async (house) => {
    const app = await house.application();
    for (let i = 0; i < 2_000; i += 1) await app.get('/api/v1/events/evt_000000000000');
    const full = await app.get('/api/v1/events/evt_000000000000');
    assert.equal(full.headers.get('Retry-After'), '300');
    await refused(full, 429, 'too_many_requests');
    await refused(await (await house.application()).get('/api/v1/events/evt_000000000000'), 404, 'not_found');
    const stranger = () => house.fetch('/api/v1/events/evt_000000000000', { headers: { 'X-Test-Address': '198.51.100.1' } });
    for (let i = 0; i < 60; i += 1) await refused(await stranger(), 401, 'invalid_client_credentials');
    await refused(await stranger(), 429, 'too_many_requests');
  });

  story('a fault of ours is a plain 500, reported to the operator', async (house) => {
    const failures: unknown[] = [];
    const storage = { ...house.storage, all: () => Promise.reject(new Error('select secret from somewhere')) };
    const broken = openHouse(storage, { reportFailure: (error) => failures.push(error) });
    const response = await (await broken.application()).get(`/api/v1/events/${firstOf(1)}`);
    assert.doesNotMatch(await response.clone().text(), /secret/);
    await refused(response, 500, 'internal_error');
    assert.equal(failures.length, 1);
  });

  story('an event is shown with the very body of its webhook, and only to its application', async (house) => {
    const app = await house.application();
    await addEvents(house.storage, app, [7]);
    const id = firstOf(7);
    const text = await (await app.get(`/api/v1/events/${id}`)).text();
    const body = `{"content":{"item_id":7,"user_uuid":"9a95b38f-f98b-417a-988b-9d0d584893e7"},"timestamp":${START},"type":"item.created"}`;
    assert.ok(text.includes(`"body":${body},"attempts":[],"waiting":[]}`), text);
    assert.equal(JSON.parse(text).id, id);
    await refused(await (await house.application()).get(`/api/v1/events/${id}`), 404, 'not_found');
    for (const wrong of ['evt_zz0000000001', 'evt_1', '%00', 'evt_000000000001%27'])
      await refused(await app.get(`/api/v1/events/${wrong}`), 404, 'not_found');
  });
});
