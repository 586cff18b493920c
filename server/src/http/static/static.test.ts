import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Hono } from 'hono';
import { ASSET_PATHS, staticAssets } from './static.ts';

const application = new Hono().route('/static', staticAssets());

for (const path of ASSET_PATHS) {
  test(`serves ${path} with its type, a tag and cache headers`, async () => {
    const first = await application.request(`/static/${path}`);
    assert.equal(first.status, 200);
    assert.match(first.headers.get('content-type') ?? '', /^(text\/css|text\/javascript|image\/svg\+xml)/);
    assert.match(first.headers.get('cache-control') ?? '', /max-age=\d+/);
    assert.equal(first.headers.get('x-content-type-options'), 'nosniff');
    assert.ok((await first.text()).length > 0);

    const etag = first.headers.get('etag') ?? '';
    for (const candidate of [etag, `W/${etag}`, `"other", ${etag}`, '*']) {
      const again = await application.request(`/static/${path}`, { headers: { 'if-none-match': candidate } });
      assert.equal(again.status, 304, candidate);
      assert.equal(await again.text(), '');
    }
    const changed = await application.request(`/static/${path}`, { headers: { 'if-none-match': '"other"' } });
    assert.equal(changed.status, 200);
  });
}

test('serves nothing else, whatever the path tries', async () => {
  for (const path of ['static.ts', '../static.ts', '%2e%2e/static.ts', 'banks/', 'banks/../../static.ts', 'unknown.css', '']) {
    const response = await application.request(`/static/${path}`);
    assert.equal(response.status, 404, path);
  }
});

test('no asset reaches for another host', async () => {
  for (const path of ASSET_PATHS) {
    const text = await (await application.request(`/static/${path}`)).text();
    assert.doesNotMatch(text.replaceAll('http://www.w3.org/2000/svg', ''), /https?:\/\//, path);
  }
});
