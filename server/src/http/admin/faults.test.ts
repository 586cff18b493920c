import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { suite, test } from 'node:test';
import { createFaultyReceiver, forward, NO_FAULTS } from './faults.ts';

/** Draws the given numbers, one after another. */
function draws(...numbers: number[]): () => number {
  return () => numbers.shift() ?? 1;
}

suite('a receiver that misbehaves on purpose', () => {
  const handled: string[] = [];
  const handle = (name: string) => async () => {
    handled.push(name);
    return { status: 200, text: 'ok' };
  };

  test('--flaky answers a share of the deliveries 500, and does nothing with them', async () => {
    handled.length = 0;
    const receiver = createFaultyReceiver({ ...NO_FAULTS, flakyShare: 0.2 }, draws(0.1, 0.3, 0.9));
    assert.equal((await receiver.receive(handle('a'))).status, 500);
    assert.equal((await receiver.receive(handle('b'))).status, 200);
    assert.deepEqual(handled, ['b']);
  });

  test('--duplicate takes a delivery and answers as if it had not', async () => {
    handled.length = 0;
    const receiver = createFaultyReceiver({ ...NO_FAULTS, duplicateShare: 0.2 }, draws(0.5, 0.1, 0.5, 0.9));
    assert.equal((await receiver.receive(handle('a'))).status, 500);
    assert.equal((await receiver.receive(handle('a'))).status, 200);
    assert.deepEqual(handled, ['a', 'a']);
  });

  test('--reorder handles neighbours the other way round, and loses none', async () => {
    handled.length = 0;
    const receiver = createFaultyReceiver({ ...NO_FAULTS, reorder: true }, draws());
    for (const name of ['a', 'b', 'c']) assert.equal((await receiver.receive(handle(name))).status, 200);
    assert.deepEqual(handled, ['b', 'a']);
    receiver.close();
    assert.deepEqual(handled, ['b', 'a', 'c']);
  });

  test('sends on what came, byte for byte and with its signatures, and answers what came back', async (t) => {
    const received: { body: string; signature: unknown }[] = [];
    const server = createServer(async (request, response) => {
      let body = '';
      for await (const chunk of request) body += chunk;
      received.push({ body, signature: request.headers['bridgeapi-signature'] });
      response.writeHead(received.length === 1 ? 204 : 503).end();
    }).listen(0, '127.0.0.1');
    t.after(() => server.close());
    await once(server, 'listening');
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hooks`;
    const headers = new Headers({ 'BridgeApi-Signature': 'v1=AB', 'content-length': '999', host: 'elsewhere' });
    const body = new TextEncoder().encode('{"é":1}');
    assert.equal((await forward(url, body, headers)).status, 204);
    assert.equal((await forward(url, body, headers)).status, 503);
    assert.deepEqual(received[0], { body: '{"é":1}', signature: 'v1=AB' });
    server.closeAllConnections();
  });

  test('says so when nobody listens', async () => {
    const answer = await forward('http://127.0.0.1:1/', new Uint8Array(), new Headers());
    assert.equal(answer.status, 502);
    assert.match(answer.text, /did not answer/);
  });
});
