import assert from 'node:assert/strict';
import { follow, refused, stories } from './harness.ts';

stories('banks, categories and stocks', (story) => {
  story('banks: by id descending, filtered, those of the environment', async (house) => {
    const app = await house.application();
    const { resources } = (await (await app.get('/v2/banks')).json()) as { resources: { id: number }[] };
    assert.deepEqual(
      resources.map((bank) => bank.id),
      [591, 574],
    );
    assert.deepEqual(Object.keys(resources[0]!), [
      'id', 'name', 'country_code', 'logo_url', 'authentication_type', 'form', 'is_highlighted', 'primary_color', 'secondary_color',
      'parent_name', 'capabilities', 'channel_type', 'display_order', 'authentication_page_url',
    ]); // biome-ignore format: one line a group
    const first = await (await app.get('/v2/banks?capabilities=ais&countries=fr&countries=es&limit=1')).json();
    const { pagination } = first as { pagination: { next_uri: string } };
    assert.equal(pagination.next_uri, '/v2/banks?after=NTkx&limit=1&countries=fr&countries=es&capabilities=ais');
    assert.equal((await follow(app, '/v2/banks?countries=fr')).resources.length, 1);
    assert.equal((await follow(app, '/v2/banks?capabilities=single_payment')).resources.length, 0);
    assert.equal(((await (await app.get('/v2/banks/574')).json()) as { name: string }).name, 'Demo bank');
    await refused(await app.get('/v2/banks/900'), 404, 'not_found');
    await refused(await app.get('/v2/banks/abc'), 404, 'not_found');
    const insights = (await (await app.get('/v2/banks/insights')).json()) as object[];
    assert.deepEqual(Object.keys(insights[0]!), [
      'id',
      'bank_name',
      'percentage_success',
      'percentage_error',
      'refresh_at',
      'country',
      'children',
      'active',
    ]);
  });

  story('categories in English and French', async (house) => {
    const app = await house.application();
    const body = (await (await app.get('/v2/categories')).json()) as { resources: object[] };
    assert.deepEqual(Object.keys(body), ['resources', 'generated_at', 'pagination']);
    assert.deepEqual(Object.keys(body.resources[0]!), ['id', 'name', 'categories']);
    assert.equal(body.resources.length, 15);
    assert.equal(await (await app.get('/v2/categories/1')).text(), '{"id":1,"name":"Uncategorized","parent_id":160}');
    const french = await app.get('/v2/categories/1', undefined, { 'Accept-Language': 'fr-FR,fr;q=0.9,en;q=0.8' });
    assert.match(await french.text(), /Non catégorisé/);
    await refused(await app.get('/v2/categories/99999999'), 404, 'not_found');
  });

  story('stocks are empty lists', async (house) => {
    const app = await house.application();
    const { token } = await app.user();
    for (const path of ['/v2/stocks', '/v2/stocks/updated?since=2019-06-21T18:44:09.523Z'])
      assert.equal(await (await app.get(path, token)).text(), '{"resources":[],"pagination":{"next_uri":null}}');
    await refused(await app.get('/v2/stocks/1', token), 404, 'not_found');
  });
});
