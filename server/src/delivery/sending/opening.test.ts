/** What connections reach, through which guard, and what TLS says on the way. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer as createHttpServer, type IncomingMessage } from 'node:http';
import { createServer as createHttpsServer, type ServerOptions } from 'node:https';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { suite, type TestContext, test } from 'node:test';
import { getCACertificates, setDefaultCACertificates, type TLSSocket } from 'node:tls';
import { makeAuthority } from '../../../test/support/certificate-authority.ts';
import { certificate, privateKey } from '../../../test/support/certificates.ts';
import type { AddressPolicy } from '../../endpoints/addresses.ts';
import { TARGET_REFUSED } from '../../endpoints/guard.ts';
import { anEndpoint, anEvent, startRaw, startSender } from './testing.ts';

const OK = 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n';
const ANY_PORT: AddressPolicy = { allowLoopback: true, allowedRanges: [], allowedPorts: [[1, 65_535]] };
const addresses = (...list: string[]) => list.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));

setDefaultCACertificates([...getCACertificates('default'), certificate('authority')]);

suite('the guard at the connection', () => {
  test('refuses a name that leads to a bad address, alone or among good ones, and sends nothing', async (t) => {
    const receiver = await startRaw(t, (socket) => socket.write(OK));
    const bad = [
      ['127.0.0.1'],
      ['10.0.0.1'],
      ['8.8.8.8', '10.0.0.1'],
      ['2606:4700::1', '::1'],
      ['::ffff:127.0.0.1'],
      ['64:ff9b::7f00:1'],
      ['169.254.169.254'],
    ];
    for (const answer of bad) {
      const policy = { ...ANY_PORT, allowLoopback: false };
      const sender = startSender(t, anEndpoint(`http://receiver.test:${receiver.port}/`), {
        policy,
        resolve: async () => addresses(...answer),
      });
      const outcome = await sender.attempt();
      assert.deepEqual(outcome.failure, { class: 'guard', message: TARGET_REFUSED }, answer.join());
      assert.equal(outcome.timings.connectMs, null);
    }
    assert.equal(receiver.connections, 0);
  });

  test('is asked again for each new connection, so that a name cannot be bound anew', async (t) => {
    let address = '127.0.0.1';
    const receiver = await startRaw(t, (socket) => socket.end('HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n'));
    const policy = { ...ANY_PORT, allowLoopback: false, allowedRanges: ['127.0.0.1/32'] };
    let lookups = 0;
    const resolve = async () => {
      lookups += 1;
      return addresses(address);
    };
    const sender = startSender(t, anEndpoint(`http://receiver.test:${receiver.port}/`), { policy, resolve });
    assert.equal((await sender.attempt()).failure, null);
    address = '127.0.0.2';
    assert.equal((await sender.attempt()).failure?.class, 'guard');
    assert.deepEqual([lookups, receiver.connections], [2, 1]);
  });

  test('uses the addresses that it has checked, and does not look them up again', async (t) => {
    const receiver = await startRaw(t, (socket) => socket.write(OK));
    let lookups = 0;
    const resolve = async () => {
      lookups += 1;
      // A second answer would lead elsewhere.
      return addresses(lookups === 1 ? '127.0.0.1' : '127.0.0.2');
    };
    const sender = startSender(t, anEndpoint(`http://receiver.test:${receiver.port}/`), { policy: ANY_PORT, resolve });
    const outcomes = await Promise.all([sender.attempt(), sender.attempt(), sender.attempt()]);
    assert.ok(outcomes.every(({ failure }) => failure === null));
    assert.deepEqual([lookups, receiver.connections], [1, 3], 'connections that open together share a lookup');
  });

  test('holds for literals, for which no lookup runs, for ports, and for what the operator denies', async (t) => {
    const receiver = await startRaw(t, (socket) => socket.write(OK));
    const strict = { allowLoopback: false, allowedRanges: [] };
    const refused: [string, AddressPolicy][] = [
      [receiver.url, { ...strict, allowedPorts: [[1, 65_535]] }],
      [receiver.url, { ...strict, allowedRanges: ['127.0.0.0/8'] }],
      [receiver.url, { ...ANY_PORT, deniedRanges: ['127.0.0.0/8'] }],
      [`http://[::ffff:7f00:1]:${receiver.port}/`, { ...strict, allowedPorts: [[1, 65_535]] }],
    ];
    for (const [url, policy] of refused) {
      const outcome = await startSender(t, anEndpoint(url), { policy }).attempt();
      assert.deepEqual(outcome.failure, { class: 'guard', message: TARGET_REFUSED }, url);
    }
    assert.equal(receiver.connections, 0);
    const allowed = { ...strict, allowedRanges: ['127.0.0.0/8'], allowedPorts: [[receiver.port, receiver.port]] as const };
    assert.equal((await startSender(t, anEndpoint(receiver.url), { policy: allowed }).attempt()).failure, null);
  });
});

type SecureReceiver = { port: number; seen: { servername: string | false | null; client: string | undefined; host: string | undefined }[] };

async function startSecure(t: TestContext, options: ServerOptions): Promise<SecureReceiver> {
  const seen: SecureReceiver['seen'] = [];
  const server = createHttpsServer({ key: privateKey('server'), ...options }, (request: IncomingMessage, response) => {
    const socket = request.socket as TLSSocket & { servername: string | false | null };
    seen.push({ servername: socket.servername, client: socket.getPeerCertificate().subject?.CN as string, host: request.headers.host });
    request.resume().on('end', () => response.end());
  });
  server.on('tlsClientError', () => {});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, seen };
}

suite('TLS', () => {
  const atName = { policy: ANY_PORT, resolve: async () => addresses('127.0.0.1') };
  const send = (t: TestContext, { port }: SecureReceiver, host = 'receiver.test', fields = {}) =>
    startSender(t, anEndpoint(`https://${host}:${port}/`, fields), atName).attempt();

  test('is measured, and the name is kept for SNI and Host, also with a dot at its end', async (t) => {
    const receiver = await startSecure(t, { cert: certificate('valid') });
    const outcome = await send(t, receiver);
    assert.equal(outcome.failure, null);
    for (const part of ['dnsMs', 'connectMs', 'tlsMs', 'firstByteMs'] as const) assert.ok((outcome.timings[part] ?? -1) >= 0, part);
    const sum = Object.values(outcome.timings).reduce<number>((total, ms) => total + (ms ?? 0), 0);
    assert.ok(sum <= outcome.durationMs + 1);
    assert.equal((await send(t, receiver, 'receiver.test.')).failure, null);
    const literal = await send(t, receiver, '127.0.0.1');
    assert.deepEqual([literal.failure, literal.timings.dnsMs], [null, null], 'checked against the address in the certificate');
    assert.deepEqual(
      receiver.seen.map(({ servername }) => servername),
      ['receiver.test', 'receiver.test', false],
    );
    assert.equal(receiver.seen[0]!.host, `receiver.test:${receiver.port}`);
  });

  test('that cannot be trusted says why', async (t) => {
    const cases = [
      ['expired', /expired on 2026-03-01/],
      ['self-signed', /self-signed/],
      ['other-host', /not for this host name, but for other\.example/],
    ] as const;
    for (const [name, sentence] of cases) {
      const receiver = await startSecure(t, { cert: certificate(name) });
      const outcome = await send(t, receiver);
      assert.equal(outcome.failure?.class, 'tls', name);
      assert.match(outcome.failure!.message, sentence);
      assert.ok(outcome.timings.connectMs !== null && outcome.timings.tlsMs === null);
      assert.equal(receiver.seen.length, 0, 'nothing is sent');
    }
    setDefaultCACertificates(getCACertificates('bundled'));
    const unknown = await send(t, await startSecure(t, { cert: certificate('valid') }));
    setDefaultCACertificates([...getCACertificates('bundled'), certificate('authority')]);
    assert.match(unknown.failure!.message, /authority that is not known here/);
  });

  test('of a version that is no longer safe, or none at all, is told apart', async (t) => {
    const old = await startSecure(t, {
      cert: certificate('valid'),
      minVersion: 'TLSv1',
      maxVersion: 'TLSv1.1',
      ciphers: 'DEFAULT:@SECLEVEL=0',
    });
    const outcome = await send(t, old);
    assert.match(outcome.failure!.message, /TLS 1\.2 or 1\.3/);
    const plain = await startRaw(t, (socket) => socket.write(OK));
    const text = createHttpServer((_, response) => response.end());
    text.listen(0, '127.0.0.1');
    await once(text, 'listening');
    t.after(() => text.close());
    const { port } = text.address() as AddressInfo;
    const mistaken = await startSender(t, anEndpoint(`https://receiver.test:${port}/`), atName).attempt();
    assert.match(mistaken.failure!.message, /does not speak TLS at this port/);
    assert.equal(plain.connections, 0);
  });

  test('is shown a client certificate where the webhook has one', async (t) => {
    const receiver = await startSecure(t, { cert: certificate('valid'), ca: certificate('authority'), requestCert: true });
    const clientCertificate = { certificate: certificate('client'), key: privateKey('client') };
    assert.equal((await send(t, receiver, 'receiver.test', { clientCertificate })).failure, null);
    assert.equal(receiver.seen[0]!.client, 'pontage client');
    const without = await send(t, receiver);
    // Node as a receiver closes the connection without a word.
    assert.equal(without.failure?.class, 'connection');
    assert.equal(receiver.seen.length, 1);
  });

  test('shows the chain of a client certificate to receivers that know its root alone', async (t) => {
    const root = makeAuthority('root');
    const middle = root.issue('middle');
    const leaf = middle.issue('leaf');
    const receiver = await startSecure(t, { cert: certificate('valid'), ca: root.pem, requestCert: true });
    const chain = { certificate: leaf.pem + middle.pem, key: leaf.key };
    assert.equal((await send(t, receiver, 'receiver.test', { clientCertificate: chain })).failure, null);
    const alone = { certificate: leaf.pem, key: leaf.key };
    assert.notEqual((await send(t, receiver, 'receiver.test', { clientCertificate: alone })).failure, null);
    assert.deepEqual(
      receiver.seen.map(({ client }) => client),
      ['leaf'],
    );
  });
});

type Tunnels = { url: string; asked: { target: string; authorization: string | undefined; sent: string }[] };

/** A real proxy for CONNECT; `status` other than 200 refuses. */
async function startProxy(t: TestContext, status = 200): Promise<Tunnels> {
  const asked: Tunnels['asked'] = [];
  const sockets = new Set<Socket>();
  const server = createHttpServer((_, response) => response.writeHead(405).end());
  server.on('connect', (request: IncomingMessage, client: Socket) => {
    const one = { target: request.url!, authorization: request.headers['proxy-authorization'], sent: '' };
    asked.push(one);
    sockets.add(client);
    if (status !== 200) return client.end(`HTTP/1.1 ${status} No\r\n\r\n`);
    const { hostname, port } = new URL(`http://${request.url}`);
    const upstream = connect(Number(port), hostname, () => client.write('HTTP/1.1 200 Connection established\r\n\r\n'));
    sockets.add(upstream);
    for (const socket of [client, upstream]) socket.on('error', () => {});
    client.on('data', (chunk: Buffer) => {
      one.sent += chunk.toString('latin1');
      upstream.write(chunk);
    });
    upstream.pipe(client);
    return upstream;
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { url: `http://user:p%40ss@127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}

suite('the egress proxy', () => {
  const resolve = async () => addresses('::1', '127.0.0.1');

  test('is given the checked address, for http and https, and the receiver its name', async (t) => {
    const proxy = await startProxy(t);
    const policy = { ...ANY_PORT, egressProxy: proxy.url };
    const plain = await startRaw(t, (socket) => socket.write(OK));
    const first = await startSender(t, anEndpoint(`http://receiver.test:${plain.port}/`), { policy, resolve }).attempt();
    assert.deepEqual([first.failure, first.timings.tlsMs], [null, null]);
    assert.match(plain.requests[0]!, new RegExp(`host: receiver\\.test:${plain.port}`, 'i'));
    assert.doesNotMatch(plain.requests[0]!, /proxy/i);
    const secure = await startSecure(t, { cert: certificate('valid') });
    const second = await startSender(t, anEndpoint(`https://receiver.test:${secure.port}/`), { policy, resolve }).attempt();
    assert.ok(second.failure === null && second.timings.connectMs !== null && second.timings.tlsMs !== null);
    assert.equal(secure.seen[0]!.servername, 'receiver.test');
    assert.deepEqual(
      proxy.asked.map(({ target }) => target),
      [`127.0.0.1:${plain.port}`, `127.0.0.1:${secure.port}`],
    );
    assert.equal(proxy.asked[0]!.authorization, `Basic ${Buffer.from('user:p@ss').toString('base64')}`);
    assert.doesNotMatch(proxy.asked[1]!.sent, /webhook-id/i, 'it sees TLS');
  });

  test('is never asked for a target that is not allowed', async (t) => {
    const proxy = await startProxy(t);
    const policy = { allowLoopback: false, allowedRanges: [], egressProxy: proxy.url };
    for (const url of ['http://receiver.test/', 'http://10.0.0.1/', 'http://8.8.8.8:22/']) {
      const outcome = await startSender(t, anEndpoint(url), { policy, resolve }).attempt();
      assert.deepEqual(outcome.failure, { class: 'guard', message: TARGET_REFUSED }, url);
    }
    assert.deepEqual(proxy.asked, []);
  });

  test('that refuses or cannot be reached is the operator’s to mend', async (t) => {
    const proxy = await startProxy(t, 403);
    const receiver = await startRaw(t, (socket) => socket.write(OK));
    const refused = await startSender(t, anEndpoint(receiver.url), { policy: { ...ANY_PORT, egressProxy: proxy.url } }).attempt(anEvent());
    assert.deepEqual([refused.failure?.class, receiver.connections], ['proxy', 0]);
    assert.match(refused.failure!.message, /answered 403: ask the operator/);
    const closed = createHttpServer().listen(0, '127.0.0.1');
    await once(closed, 'listening');
    const { port } = closed.address() as AddressInfo;
    closed.close();
    const policy = { ...ANY_PORT, egressProxy: `http://127.0.0.1:${port}` };
    assert.match((await startSender(t, anEndpoint(receiver.url), { policy }).attempt()).failure!.message, /could not be reached/);
  });
});
