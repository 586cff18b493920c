import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import { type Issued, makeAuthority } from '../../test/support/certificate-authority.ts';
import { eachEngine } from '../../test/support/engines.ts';
import { appendTestEvent } from '../events/append.ts';
import { LANES, laneOf } from '../events/log.ts';
import { sql } from '../storage/sql.ts';
import type { Storage } from '../storage/storage.ts';
import { createVault, deriveWrappingKey } from '../vault/vault.ts';
import {
  createEndpoint,
  deleteEndpoint,
  disableEndpoint,
  findEndpoint,
  listEndpoints,
  loadEndpoints,
  rotateSecret,
  updateEndpoint,
} from './endpoints.ts';
import { ROTATION_OVERLAP_MS } from './secrets.ts';
import { DEFAULT_SETTINGS, type EndpointSettings } from './settings.ts';

const POLICY = { allowLoopback: false, allowedRanges: [] };
const FIELDS = { name: 'main', url: 'https://example.com/hooks', events: ['item.refreshed', 'item.created'] };
const APPLICATION = 'app_one';
/** The clock of these tests has only begun. */
const LONG_VALID = { from: '1960-01-01' };
const clientOf = ({ pem, key }: Issued) => ({ certificate: pem, key });

async function world(storage: Storage) {
  const key = deriveWrappingKey('the wrapping key of a test, with characters enough');
  const vault = createVault(() => ({ current: key, all: [key] }));
  await storage.transaction((tx) =>
    tx.run(
      sql`insert into applications (id, name, environment, client_id, client_secret_digest, created_at)
          values (${APPLICATION}, 'test', 'sandbox', 'one', '', 0)`,
    ),
  );
  const at = (now: number) => ({ storage, vault, now });
  const create = async (fields = FIELDS) => {
    const created = await createEndpoint(at(1), APPLICATION, fields, POLICY);
    assert.ok(created.outcome === 'created', JSON.stringify(created));
    return created;
  };
  return {
    storage,
    at,
    create,
    version: async () => (await storage.first<{ version: number }>(sql`select version from configuration`))!.version,
  };
}

eachEngine('endpoints', (openStorage) => {
  const open = async (t: TestContext) => world(await openStorage(t));

  test('an endpoint is shown as it was made, its secret once', async (t) => {
    const { storage, create } = await open(t);
    const { endpoint, secret } = await create();
    assert.match(secret, /^whsec_[A-Za-z0-9+/]{43}=$/);
    assert.deepEqual(await findEndpoint(storage, endpoint.id), endpoint);
    assert.deepEqual(endpoint.events, ['item.created', 'item.refreshed'], 'in the order of the catalogue');
    const stored = await storage.all<{ sealed: string }>(sql`select sealed from endpoint_secrets`);
    assert.ok(!JSON.stringify(stored).includes(secret.slice(6, 20)));
  });

  test('an application has ten at most, also when they come at once', async (t) => {
    const { storage, at, create } = await open(t);
    const made = await Promise.all(Array.from({ length: 12 }, () => createEndpoint(at(1), APPLICATION, FIELDS, POLICY)));
    assert.deepEqual(made.map(({ outcome }) => outcome).sort(), [...Array(2).fill('conflict'), ...Array(10).fill('created')]);
    const [first] = await listEndpoints(storage, APPLICATION);
    assert.equal(await deleteEndpoint(at(2), first!.id), true);
    await create();
    assert.equal((await listEndpoints(storage, null)).length, 10);
    assert.deepEqual(await listEndpoints(storage, 'another'), []);
  });

  test('what cannot be is refused with the field and a sentence', async (t) => {
    const { at } = await open(t);
    const refusals = { name: { name: ' ' }, url: { url: 'http://10.0.0.1/' }, events: { events: ['item.exploded'] } };
    for (const [field, change] of Object.entries(refusals)) {
      const refused = await createEndpoint(at(1), APPLICATION, { ...FIELDS, ...change }, POLICY);
      assert.ok(refused.outcome === 'invalid' && refused.field === field && refused.sentence.length > 10);
    }
    assert.equal((await createEndpoint(at(1), APPLICATION, { ...FIELDS, events: [] }, POLICY)).outcome, 'invalid');
  });

  test('a new filter makes a version from the heads of that moment; another change makes none; each raises the configuration', async (t) => {
    const { storage, at, create, version } = await open(t);
    const { endpoint } = await create();
    const origin = { applicationId: APPLICATION, refreshId: null, committedAt: 0, endpointId: endpoint.id };
    await storage.transaction((tx) => appendTestEvent(tx, origin));
    const before = await version();
    await updateEndpoint(at(2), endpoint.id, { name: 'other', enabled: false }, POLICY);
    await updateEndpoint(at(3), endpoint.id, { events: ['item.created'] }, POLICY);
    assert.equal(await version(), before + 2);
    const loaded = await loadEndpoints(at(4));
    assert.equal(loaded.configurationVersion, before + 2);
    const [{ versions, enabled }] = loaded.endpoints as [(typeof loaded.endpoints)[number]];
    assert.equal(enabled, false);
    assert.deepEqual(
      versions.map((each) => each.events),
      [['item.created', 'item.refreshed'], ['item.created']],
    );
    assert.deepEqual(versions[0]!.from, Array(LANES).fill(0));
    const lane = laneOf(`application:${APPLICATION}`);
    assert.deepEqual(
      versions[1]!.from,
      Array.from({ length: LANES }, (_, index) => (index === lane ? 1 : 0)),
    );
    assert.deepEqual(await updateEndpoint(at(5), 'wh_none', { name: 'x' }, POLICY), { outcome: 'not_found' });
  });

  test('two secrets live at most, newest first, and the old one for 24 h', async (t) => {
    const { at, create } = await open(t);
    const { endpoint, secret: first } = await create();
    const second = await rotateSecret(at(10), endpoint.id);
    const secretsAt = async (now: number) => (await loadEndpoints(at(now))).endpoints[0]!.secrets.map(({ secret }) => secret);
    assert.deepEqual(await secretsAt(11), [second, first]);
    const third = await rotateSecret(at(20), endpoint.id);
    assert.deepEqual(await secretsAt(21), [third, second]);
    assert.deepEqual(await secretsAt(20 + ROTATION_OVERLAP_MS), [third]);
    assert.equal(await rotateSecret(at(20), 'wh_none'), null);
    const fourth = await rotateSecret(at(30), endpoint.id, 5);
    assert.deepEqual([await secretsAt(34), await secretsAt(35)], [[fourth, third], [fourth]]);
    const fifth = await rotateSecret(at(40), endpoint.id, 0);
    assert.deepEqual(await secretsAt(40), [fifth]);
  });

  test('settings are shown without their secrets, given whole to delivery, and lie sealed', async (t) => {
    const { storage, at } = await open(t);
    const jwk = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' });
    const settings: EndpointSettings = {
      ordering: 'none',
      concurrencyMax: 4,
      ratePerS: 2.5,
      deadlineMs: 5_000,
      retryDelaysMs: [1_000, 60_000],
      silentAfterMs: 7_200_000,
      customHeaders: [['X-Api-Key', 'the key of the gateway']],
      clientCertificate: clientOf(makeAuthority('pontage client', LONG_VALID)),
      encryption: { key: jwk, alg: 'ECDH-ES+A256KW', enc: 'A256GCM' },
    };
    const created = await createEndpoint(at(1), APPLICATION, { ...FIELDS, ...settings }, POLICY);
    assert.ok(created.outcome === 'created');
    const { customHeaders, clientCertificate, ...plain } = settings;
    const shown = await findEndpoint(storage, created.endpoint.id);
    assert.deepEqual(shown, created.endpoint);
    assert.deepEqual({ ...shown, ...plain }, shown);
    assert.deepEqual([shown?.customHeaderNames, shown?.clientCertificate?.subject], [['X-Api-Key'], 'CN=pontage client']);
    const rows = JSON.stringify(await storage.all(sql`select * from endpoints`));
    for (const secret of [customHeaders[0]![1], clientCertificate!.key]) {
      assert.ok(!JSON.stringify(shown).includes(secret) && !rows.includes(JSON.stringify(secret).slice(1, -1)));
    }
    const loaded = async () => (await loadEndpoints(at(2))).endpoints[0]!;
    assert.deepEqual({ ...(await loaded()), ...settings }, await loaded());
    const changed = await updateEndpoint(at(3), created.endpoint.id, { deadlineMs: null, customHeaders: [] }, POLICY);
    assert.ok(changed.outcome === 'updated' && changed.endpoint.concurrencyMax === 4);
    assert.deepEqual({ ...(await loaded()), ...settings, deadlineMs: null, customHeaders: [] }, await loaded());
    const back = await updateEndpoint(at(4), created.endpoint.id, DEFAULT_SETTINGS, POLICY);
    assert.ok(back.outcome === 'updated');
    assert.deepEqual({ ...(await loaded()), ...DEFAULT_SETTINGS }, await loaded());
  });

  test('a setting that cannot be is refused, on its own as with others, and changes nothing', async (t) => {
    const { storage, at, create } = await open(t);
    const { endpoint } = await create();
    const refused = await updateEndpoint(at(2), endpoint.id, { name: 'other', deadlineMs: 5 }, POLICY);
    assert.ok(refused.outcome === 'invalid' && refused.field === 'deadlineMs');
    const clientCertificate = clientOf(makeAuthority('client', LONG_VALID));
    const plain = await createEndpoint(at(2), APPLICATION, { ...FIELDS, url: 'http://example.com/', clientCertificate }, POLICY);
    assert.ok(plain.outcome === 'invalid' && plain.field === 'clientCertificate');
    assert.deepEqual(await findEndpoint(storage, endpoint.id), endpoint);
  });

  test('a client certificate and a URL without TLS do not come together, whichever comes first', async (t) => {
    const { storage, at } = await open(t);
    const clientCertificate = clientOf(makeAuthority('client', LONG_VALID));
    const created = await createEndpoint(at(1), APPLICATION, { ...FIELDS, clientCertificate }, POLICY);
    assert.ok(created.outcome === 'created');
    const { id } = created.endpoint;
    const url = 'http://example.com/';
    const refused = await updateEndpoint(at(2), id, { url, name: 'other' }, POLICY);
    assert.ok(refused.outcome === 'invalid' && refused.field === 'url');
    assert.match(refused.sentence, /client certificate, which needs a URL that begins with https:/);
    assert.deepEqual(await findEndpoint(storage, id), created.endpoint);
    const without = await updateEndpoint(at(3), id, { url, clientCertificate: null }, POLICY);
    assert.ok(without.outcome === 'updated' && without.endpoint.url === url);
    const given = await updateEndpoint(at(4), id, { clientCertificate }, POLICY);
    assert.ok(given.outcome === 'invalid' && given.field === 'clientCertificate');
    const both = await updateEndpoint(at(5), id, { url: FIELDS.url, clientCertificate }, POLICY);
    assert.ok(both.outcome === 'updated' && both.endpoint.clientCertificate !== null);
  });

  test('secrets that cannot be read leave nothing to send with, and no header behind', async (t) => {
    const { storage, at } = await open(t);
    const created = await createEndpoint(at(1), APPLICATION, { ...FIELDS, customHeaders: [['X-Api-Key', 'value']] }, POLICY);
    assert.ok(created.outcome === 'created');
    const moved = JSON.stringify([['X-Api-Key', 'v1.AAAA']]);
    await storage.transaction((tx) => tx.run(sql`update endpoints set custom_headers = ${moved}`));
    const [loaded] = (await loadEndpoints(at(2))).endpoints;
    assert.deepEqual([loaded?.secrets, loaded?.customHeaders], [[], []]);
  });

  test('one that is off says why and since when', async (t) => {
    const { storage, at, create } = await open(t);
    const { endpoint } = await create();
    const state = async () => {
      const found = await findEndpoint(storage, endpoint.id);
      return [found?.enabled, found?.disabledReason, found?.disabledAt];
    };
    assert.deepEqual(await state(), [true, null, null]);
    await updateEndpoint(at(5), endpoint.id, { enabled: false }, POLICY);
    await updateEndpoint(at(6), endpoint.id, { enabled: false, name: 'other' }, POLICY);
    assert.deepEqual(await state(), [false, 'owner', 5]);
    await updateEndpoint(at(7), endpoint.id, { enabled: true }, POLICY);
    assert.deepEqual(await state(), [true, null, null]);
    assert.equal(await storage.transaction((tx) => disableEndpoint(tx, endpoint.id, 'gone', 8)), true);
    assert.equal(await storage.transaction((tx) => disableEndpoint(tx, endpoint.id, 'failing', 9)), false);
    assert.deepEqual(await state(), [false, 'gone', 8]);
  });

  test('a deleted endpoint is gone, with its key and its secrets', async (t) => {
    const { storage, at, create } = await open(t);
    const { endpoint } = await create();
    assert.equal(await deleteEndpoint(at(2), endpoint.id), true);
    assert.equal(await deleteEndpoint(at(3), endpoint.id), false);
    assert.equal(await findEndpoint(storage, endpoint.id), undefined);
    assert.deepEqual((await loadEndpoints(at(4))).endpoints, []);
    const versions = await storage.all<{ matching: number }>(sql`select matching from endpoint_versions order by version`);
    assert.deepEqual(
      versions.map(({ matching }) => matching),
      [1, 0],
    );
    for (const table of [sql`select id from data_keys`, sql`select id from endpoint_secrets`])
      assert.deepEqual(await storage.all(table), []);
  });
});
