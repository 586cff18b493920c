/** What one delivery is: its body and signatures, what the log says of its failure, what the guard refuses. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { verify } from '@pontage/sdk';
import { eachEngine } from '../../test/support/engines.ts';
import { DAY_MS, HOUR_MS } from '../base/clock.ts';
import { rotateSecret } from '../endpoints/endpoints.ts';
import { appendTestEvent } from '../events/append.ts';
import { context, createWorld, startReceiver } from './testing.ts';

eachEngine('a delivery', (open) => {
  test('a committed event arrives once, signed by both schemes, as compact JSON', async (t) => {
    const world = await createWorld(await open(t), t);
    const receiver = await startReceiver(t);
    const { secret } = await world.endpoint(receiver.url);
    const delivery = await world.start();
    delivery.wake(await world.append([4568477]));
    await delivery.settled(1);
    const { body } = receiver.received[0]!;
    const headers = receiver.received[0]!.headers as Record<string, string>;
    assert.equal(
      body,
      '{"content":{"item_id":4568477,"user_uuid":"766b2f5d-a942-492c-9ea7-2e5aa88cb672"},"timestamp":1700000000000,"type":"item.created"}',
    );
    assert.equal(headers['content-type'], 'application/json');
    assert.equal(headers['user-agent'], 'Pontage/1.2.3');
    assert.match(headers['bridgeapi-signature']!, /^v1=[0-9A-F]{64}$/);
    assert.match(headers['webhook-id']!, /^evt_/);
    assert.equal(headers['webhook-timestamp'], '1700000000');
    verify(body, { 'bridgeapi-signature': headers['bridgeapi-signature']! }, secret, { requireTimestamp: false });
    const standard = {
      'webhook-id': headers['webhook-id']!,
      'webhook-timestamp': '1700000000',
      'webhook-signature': headers['webhook-signature']!,
    };
    verify(body, standard, secret, { now: world.clock.now() });
  });

  test('after a rotation both secrets sign, newest first; a second one ends the first; 24 h end the old', async (t) => {
    const world = await createWorld(await open(t), t);
    const receiver = await startReceiver(t);
    const { endpoint, secret: first } = await world.endpoint(receiver.url);
    const delivery = await world.start();
    const second = (await rotateSecret(context(world), endpoint.id))!;
    delivery.wake(await world.append([1]));
    await delivery.settled(1);
    const signatures = () => String(receiver.received.at(-1)!.headers['bridgeapi-signature']).split(',');
    const verifies = (secret: string, signature: string) => {
      try {
        verify(receiver.received.at(-1)!.body, { 'bridgeapi-signature': signature }, secret, { requireTimestamp: false });
        return true;
      } catch {
        return false;
      }
    };
    assert.equal(signatures().length, 2);
    assert.ok(verifies(second, signatures()[0]!) && verifies(first, signatures()[1]!));
    assert.equal(String(receiver.received[0]!.headers['webhook-signature']).split(' ').length, 2);
    world.clock.advance(HOUR_MS);
    const third = (await rotateSecret(context(world), endpoint.id))!;
    delivery.wake(await world.append([2]));
    await delivery.settled(2);
    assert.ok(verifies(third, signatures()[0]!) && verifies(second, signatures()[1]!));
    assert.equal(signatures().length, 2);
    world.clock.advance(DAY_MS);
    delivery.wake(await world.append([3]));
    await delivery.settled(3);
    assert.equal(signatures().length, 1);
    assert.ok(verifies(third, signatures()[0]!));
  });

  test('a test event reaches its endpoint alone, with the documented body and signature', async (t) => {
    const world = await createWorld(await open(t), t);
    const [one, other] = [await startReceiver(t), await startReceiver(t)];
    const { endpoint } = await world.endpoint(one.url, ['item.created']);
    await world.endpoint(other.url);
    const delivery = await world.start();
    const origin = { applicationId: world.applicationId, refreshId: null, committedAt: 0, endpointId: endpoint.id };
    const id = await world.storage.transaction((tx) => appendTestEvent(tx, origin));
    delivery.wake();
    await delivery.settled(1);
    assert.equal(other.received.length, 0);
    assert.equal(one.received[0]!.id, id);
    assert.equal(
      one.received[0]!.body,
      '{"content":{"item_id":1234567890,"status":0,"user_uuid":"9a95b38f-f98b-417a-988b-9d0d584893e7"},"timestamp":1611681789,"type":"TEST_EVENT"}',
    );
    assert.equal(delivery.reports[0]!.source, 'test');
  });

  test('failures say what to do', async (t) => {
    const world = await createWorld(await open(t), t);
    const redirecting = await startReceiver(t, (_, response) => response.writeHead(302, { location: 'https://example.com/new' }).end());
    const closed = createServer().listen(0, '127.0.0.1');
    await once(closed, 'listening');
    const { port } = closed.address() as { port: number };
    closed.close();
    await world.endpoint(redirecting.url);
    await world.endpoint(`http://127.0.0.1:${port}/`);
    const delivery = await world.start();
    delivery.wake(await world.append([1]));
    await delivery.settled(2);
    const failures = delivery.reports.map(({ failure }) => failure).sort((a, b) => a!.class.localeCompare(b!.class));
    assert.deepEqual(
      failures.map((failure) => failure?.class),
      ['redirect', 'refused'],
    );
    assert.match(failures[0]!.message, /https:\/\/example\.com\/new/);
  });

  test('the guard holds at the connection too', async (t) => {
    const world = await createWorld(await open(t), t);
    const receiver = await startReceiver(t);
    await world.endpoint(receiver.url);
    await world.endpoint(receiver.url.replace('127.0.0.1', 'localhost'));
    const delivery = await world.start({ policy: { allowLoopback: false, allowedRanges: [] } });
    delivery.wake(await world.append([1]));
    await delivery.settled(2);
    assert.deepEqual(
      delivery.reports.map(({ failure }) => failure?.class),
      ['guard', 'guard'],
    );
    assert.equal(receiver.received.length, 0);
  });

  test('a long answer is cut, and a 2xx stays a success', async (t) => {
    const world = await createWorld(await open(t), t);
    const receiver = await startReceiver(t, (_, response) => response.end(Buffer.alloc(1_000_000)));
    await world.endpoint(receiver.url);
    const delivery = await world.start();
    delivery.wake(await world.append([1]));
    await delivery.settled(1);
    assert.equal(delivery.reports[0]!.failure, null);
  });
});
