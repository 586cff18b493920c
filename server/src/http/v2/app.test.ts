import assert from 'node:assert/strict';
import { gunzipSync } from 'node:zlib';
import { openHouse, refused, stories } from './harness.ts';

stories('the edge of the API', (story) => {
  story('the answers carry the recorded headers, and gzip when asked', async (house) => {
    const app = await house.application();
    const plain = await app.get('/v2/categories');
    assert.equal(plain.headers.get('Content-Type'), 'application/json');
    assert.equal(plain.headers.get('Cache-Control'), 'no-cache, no-store, max-age=0, must-revalidate');
    assert.equal(plain.headers.get('Server'), 'Pontage');
    assert.equal(plain.headers.get('X-Content-Type-Options'), 'nosniff');
    assert.equal(plain.headers.get('Strict-Transport-Security'), null);
    assert.match(plain.headers.get('Vary') ?? '', /^Origin, Access-Control-Request-Method, Access-Control-Request-Headers/);
    const text = await plain.text();
    const zipped = await app.get('/v2/categories', undefined, { 'Accept-Encoding': 'gzip' });
    assert.equal(zipped.headers.get('Content-Encoding'), 'gzip');
    assert.equal(gunzipSync(Buffer.from(await zipped.arrayBuffer())).toString(), text);
    const refusal = await house.fetch('/v2/banks');
    assert.equal(refusal.headers.get('X-Frame-Options'), 'DENY');
  });

  story('version, credentials and token are checked, in this order', async (house) => {
    const app = await house.application();
    await refused(await house.fetch('/v2/banks'), 400, 'invalid_version_header');
    await refused(await app.get('/v2/banks', undefined, { 'Bridge-Version': '2019-02-18' }), 400, 'invalid_version_header');
    const { 'Bridge-Version': version, ...credentials } = app.headers;
    assert.equal((await house.fetch('/v2/banks', { headers: { ...credentials, 'Bankin-Version': version! } })).status, 200);
    await refused(await house.fetch('/v2/banks', { headers: { 'Bridge-Version': version! } }), 401, 'invalid_client_credentials');
    await refused(await app.get('/v2/banks', undefined, { 'Client-Secret': 'wrong' }), 401, 'invalid_client_credentials');
    await refused(await app.get('/v2/items'), 401, 'invalid_access_token');
    await refused(await app.get('/v2/items', 'nonsense'), 401, 'invalid_access_token');
  });

  story('unknown paths are 404, other methods 405, whoever asks', async (house) => {
    await refused(await house.fetch('/v2/nothing'), 404, 'not_found');
    await refused(await house.fetch('/v2'), 404, 'not_found');
    await refused(await house.fetch('/v2/connect/items/pro/confirmation'), 404, 'not_found');
    const response = await house.fetch('/v2/users', { method: 'PUT' });
    assert.equal(response.headers.get('Allow'), 'POST, GET, DELETE');
    await refused(response, 405, 'method_not_allowed');
  });

  story('bodies: wrong type, malformed, too large, wrong fields', async (house) => {
    const app = await house.application();
    const post = (body: string, type?: string) =>
      house.fetch('/v2/users', { method: 'POST', body, headers: { ...app.headers, ...(type ? { 'Content-Type': type } : {}) } });
    await refused(await post('{}', 'text/plain'), 415, 'unsupported_media_type');
    await refused(await post('{"email":', 'application/json'), 422, 'invalid_json');
    await refused(await post(`"${'x'.repeat(70_000)}"`, 'application/json'), 413, 'payload_too_large');
    for (const body of [
      '[]',
      'null',
      '{"email":"john"}',
      '{"email":"a@b","password":"short"}',
      '{"password":"long enough"}',
      '{"external_user_id":"a\\u0000b"}',
    ])
      await refused(await post(body, 'application/json; charset=utf-8'), 400, 'bad_request');
    assert.equal((await post('{}', 'application/json;charset=UTF-8')).status, 201);
  });

  story('texts: only those that a database gives back as they came', async (house) => {
    const app = await house.application();
    const create = (text: string) => app.send('POST', '/v2/users', `{"external_user_id":"${text}"}`);
    for (const text of ['a\\u0000b', 'a\\ud800', '\\udc00\\ud800']) await refused(await create(text), 400, 'bad_request');
    await refused(await app.send('POST', '/v2/users', '{"a\\u0000b":1}'), 400, 'bad_request');
    for (const [text, shown] of [
      ['\\ud83c\\udf09', '🌉'],
      // A backslash and five letters, not a NUL.
      ['\\\\u0000', '\\u0000'],
    ] as const) {
      const response = await create(text);
      assert.equal(response.status, 201);
      assert.equal(((await response.json()) as { external_user_id: string }).external_user_id, shown);
    }
  });

  story('a refused field is named, with what it must be', async (house) => {
    const app = await house.application();
    const { token } = await app.user();
    for (const [response, message] of [
      [await app.get('/v2/connect/items/edit', token), 'item_id: is required'],
      [await app.send('POST', '/v2/connect/items/add', { bank_id: '574' }, token), 'bank_id: must be a number'],
      [await app.send('POST', '/v2/users', { external_user_id: 7 }), 'external_user_id: must be a text'],
      [await app.send('POST', '/v2/users', '[]'), 'the body must be an object'],
    ] as const) {
      assert.equal(response.status, 400);
      assert.equal(((await response.json()) as { message: string }).message, message);
    }
  });

  story('a caller who goes away in the middle of a body is no failure of ours', async (house) => {
    const app = await house.application();
    const body = new ReadableStream({
      start: (controller) => controller.enqueue(new TextEncoder().encode('{"external_')),
      pull: (controller) => controller.error(new Error('aborted')),
    });
    const init = { method: 'POST', headers: { ...app.headers, 'Content-Type': 'application/json' }, body, duplex: 'half' } as const;
    await refused(await house.fetch('/v2/users', init), 400, 'bad_request');
    assert.deepEqual(house.asked.failures, []);
  });

  story('limits: of a user, of authenticating, of an application, of an address without credentials', async (house) => {
    const app = await house.application();
    const user = await app.user();
    for (let i = 0; i < 60; i += 1) assert.equal((await app.get('/v2/items', user.token)).status, 200);
    house.clock.advance(20_500);
    const full = await app.get('/v2/items', user.token);
    assert.equal(full.headers.get('Retry-After'), '40');
    await refused(full, 429, 'too_many_requests');
    const neighbour = await app.user();
    assert.equal((await app.get('/v2/items', neighbour.token)).status, 200);
    house.clock.advance(39_500);
    assert.equal((await app.get('/v2/items', user.token)).status, 200);

    for (let i = 0; i < 10; i += 1) assert.equal((await app.send('POST', '/v2/authenticate', { user_uuid: user.uuid })).status, 200);
    await refused(await app.send('POST', '/v2/authenticate', { user_uuid: user.uuid }), 429, 'too_many_requests');

    const stranger = (address: string) =>
      house.fetch('/v2/banks', { headers: { 'Bridge-Version': '2021-06-01', 'X-Test-Address': address } });
    for (let i = 0; i < 60; i += 1) await refused(await stranger('198.51.100.1'), 401, 'invalid_client_credentials');
    await refused(await stranger('198.51.100.1'), 429, 'too_many_requests');
    await refused(await stranger('198.51.100.2'), 401, 'invalid_client_credentials');

    const busy = await house.application();
    for (let i = 0; i < 2_000; i += 1) await busy.get('/v2/banks/574');
    const refusal = await busy.get('/v2/banks/574');
    assert.equal(refusal.headers.get('Retry-After'), '300');
    await refused(refusal, 429, 'too_many_requests');
  });

  story('a fault of ours is a plain 500, reported to the operator', async (house) => {
    const broken = openHouse(house.storage, {
      createConnectSession: async () => {
        throw new Error('select secret from somewhere');
      },
    });
    const tenant = await broken.application();
    const { token } = await tenant.user();
    const response = await tenant.send('POST', '/v2/connect/items/add', {}, token);
    assert.doesNotMatch(await response.clone().text(), /secret/);
    await refused(response, 500, 'internal_error');
    assert.equal(broken.asked.failures.length, 1);
  });
});
