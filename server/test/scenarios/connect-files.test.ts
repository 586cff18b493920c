/** Statement files through Connect: what is wrong is told by name, nothing is half-kept, and newer files are a refresh. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { MINUTE_MS } from '../../src/base/clock.ts';
import { sql } from '../../src/storage/sql.ts';
import { type ConnectWorld, createConnectWorld } from '../support/connect.ts';
import { eachEngine } from '../support/engines.ts';
import { postForm, type Visited, type Visitor } from '../support/visitor.ts';

const SAMPLES = new URL('../../src/connectors/statements/fixtures/samples/', import.meta.url);
const STATEMENTS = 9001;

async function send(user: Visitor, page: Visited, files: Record<string, string | Uint8Array<ArrayBuffer>>): Promise<Visited> {
  const { action, csrf } = postForm(page.html)!;
  const form = new FormData();
  form.set('csrf', csrf);
  for (const [name, content] of Object.entries(files)) form.append('files', new File([content], name));
  const answer = await user.post(action, form);
  const location = answer.headers.get('location');
  return location === null ? answer : user.get(location);
}

const sample = (name: string) => new Uint8Array(readFileSync(new URL(name, SAMPLES)));

async function atUpload(house: ConnectWorld, language?: string): Promise<{ user: Visitor; path: string; page: Visited }> {
  const user = house.visitor(language);
  const path = await house.link();
  const list = await user.submit(await user.get(path), {});
  return { user, path, page: await user.submit(list, { bank_id: String(STATEMENTS) }) };
}

eachEngine('statement files in connect', (open) => {
  test('an upload with a problem keeps nothing, and the right one connects', async (t) => {
    const house = await createConnectWorld(await open(t));
    const { user, path, page } = await atUpload(house);
    assert.equal(page.heading, 'Upload your bank statements');
    for (const files of [{}, { 'empty.ofx': '' }, { 'a.txt': 'hello', 'checking.ofx': sample('ofx/checking.ofx') }]) {
      const wrong = await send(user, page, files);
      assert.equal(wrong.status, 422);
      assert.match(wrong.html, /Nothing of this upload was kept/);
      for (const name of Object.keys(files).slice(0, 1)) assert.equal(wrong.html.split(name).length, 2, `${name} is named once`);
    }
    assert.deepEqual(await house.events(), []);

    const sent = await send(user, page, { 'checking.ofx': sample('ofx/checking.ofx') });
    assert.equal(sent.heading, 'Connecting to Statement files');
    assert.deepEqual(
      (await house.events()).map(({ type }) => type),
      ['item.created'],
    );
    await house.run();
    const done = await user.get(path);
    assert.equal(done.heading, 'You are connected');
    assert.match(done.html, /1 account was read from your files/);
    assert.doesNotMatch(done.html, /will follow/);
    const item = await house.services.storage.first<{ credentials: string | null }>(sql`select credentials from items`);
    assert.equal(item!.credentials, null, 'the files are gone once they are read');
  });

  test('the same file again in a sync session changes nothing and says only refreshed', async (t) => {
    const house = await createConnectWorld(await open(t));
    const { user, page } = await atUpload(house);
    await send(user, page, { 'checking.ofx': sample('ofx/checking.ofx') });
    await house.run();
    const before = await house.events();
    house.clock.advance(MINUTE_MS);
    const path = await house.link({ purpose: 'sync', itemId: before[0]!.itemId });
    const form = await user.submit(await user.get(path), {});
    assert.equal(form.heading, 'Upload newer statements');
    assert.equal(form.link(/another bank/i), null);
    await send(user, form, { 'again.ofx': sample('ofx/checking.ofx') });
    await house.run();
    assert.equal((await user.get(path)).heading, 'You are connected');
    const after = (await house.events()).slice(before.length);
    assert.deepEqual(
      after.map(({ type }) => type),
      ['item.refreshed'],
    );
  });

  test('more than the server reads is refused in words, before it is read', async (t) => {
    const house = await createConnectWorld(await open(t));
    const { user, page } = await atUpload(house, 'fr');
    assert.equal(page.heading, 'Envoyez vos relevés bancaires');
    const { action, csrf } = postForm(page.html)!;
    const answer = await user.post(action, { csrf }, { 'content-length': String(2 ** 30) });
    assert.equal(answer.status, 413);
    assert.match(answer.html, /trop lourds.*100.Mo/);
    assert.equal((await house.visitor().post(action, { csrf }, { 'content-length': String(2 ** 30) })).status, 403);
  });
});
