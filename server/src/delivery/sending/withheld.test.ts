/** A process that stood still until its lease had ended: what it does with requests that it had begun. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { suite, type TestContext, test } from 'node:test';
import { anEndpoint, anEvent, DEVELOPMENT, startRaw, startSender } from './testing.ts';

const OK = 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n';
const ADDRESS = [{ address: '127.0.0.1', family: 4 }];

/** Takes connections, and says nothing until it is told what. */
async function startSilent(t: TestContext): Promise<{ port: number; connected: Promise<Socket>; read(): string }> {
  const { promise, resolve } = Promise.withResolvers<Socket>();
  let text = '';
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
    });
    t.after(() => socket.destroy());
    resolve(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return { port: (server.address() as AddressInfo).port, connected: promise, read: () => text };
}

function aLease() {
  const lease = { ended: false, mayWrite: () => !lease.ended };
  return lease;
}

suite('a lease that has ended', () => {
  test('while the name was looked up: nothing is written, and it is nobody’s failure', async (t) => {
    const receiver = await startRaw(t, (socket) => socket.write(OK));
    const lookup = Promise.withResolvers<typeof ADDRESS>();
    const lease = aLease();
    const policy = { ...DEVELOPMENT, allowedPorts: [[1, 65_535]] as const };
    const sender = startSender(t, anEndpoint(`http://receiver.test:${receiver.port}/`), {
      policy,
      resolve: () => lookup.promise,
      mayWrite: lease.mayWrite,
    });
    const first = sender.attempt();
    lease.ended = true;
    lookup.resolve(ADDRESS);
    assert.equal((await first).failure?.class, 'broken off');
    assert.deepEqual(receiver.requests, []);
    lease.ended = false;
    assert.equal((await sender.attempt()).failure, null, 'and with a new one it sends again');
  });

  test('while a proxy connected, or TLS was set up, is no failure of the receiver either', async (t) => {
    for (const how of ['proxy', 'tls'] as const) {
      const silent = await startSilent(t);
      const lease = aLease();
      const proxied = { policy: { ...DEVELOPMENT, egressProxy: `http://127.0.0.1:${silent.port}` } };
      const endpoint = anEndpoint(how === 'proxy' ? 'http://127.0.0.1/' : `https://127.0.0.1:${silent.port}/`);
      const sender = startSender(t, endpoint, { mayWrite: lease.mayWrite, ...(how === 'proxy' ? proxied : {}) });
      const attempt = sender.attempt();
      const socket = await silent.connected;
      lease.ended = true;
      if (how === 'proxy') socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      else socket.destroy();
      assert.equal((await attempt).failure?.class, 'broken off', how);
      assert.doesNotMatch(silent.read(), /POST/);
    }
  });

  test('before the second request of an attempt: it is not sent once more', async (t) => {
    const lease = aLease();
    let closing = false;
    const receiver = await startRaw(t, (socket) => {
      if (closing) lease.ended = true;
      if (closing) socket.destroy();
      else socket.write(OK);
    });
    const sender = startSender(t, anEndpoint(receiver.url), { mayWrite: lease.mayWrite });
    await sender.attempt();
    closing = true;
    assert.equal((await sender.attempt()).failure?.class, 'broken off');
    assert.equal(receiver.requests.length, 2);
  });

  test('and was renewed at once does not turn what was withheld into a failure', async (t) => {
    const receiver = await startRaw(t, (socket) => socket.write(OK));
    let asked = 0;
    const sender = startSender(t, anEndpoint(receiver.url), {
      mayWrite: () => {
        asked += 1;
        return asked > 1;
      },
    });
    assert.equal((await sender.attempt()).failure?.class, 'broken off');
    assert.deepEqual(receiver.requests, []);
  });

  test('while an answer was awaited: a deadline that passed says nothing, and an answer is what it is', async (t) => {
    const lease = aLease();
    const silent = await startRaw(t, () => {
      lease.ended = true;
    });
    const unheard = startSender(t, anEndpoint(silent.url), { mayWrite: lease.mayWrite, deadlineMs: 50 });
    assert.equal((await unheard.attempt()).failure?.class, 'broken off');
    for (const [answer, failure] of [
      [OK, undefined],
      ['HTTP/1.1 500 Error\r\ncontent-length: 0\r\n\r\n', 'status'],
    ] as const) {
      lease.ended = false;
      const receiver = await startRaw(t, (socket) => {
        lease.ended = true;
        socket.write(answer);
      });
      const sender = startSender(t, anEndpoint(receiver.url), { mayWrite: lease.mayWrite });
      assert.equal((await sender.attempt(anEvent())).failure?.class, failure);
    }
  });
});
