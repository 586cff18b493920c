/** What receivers may do to us, by accident or design; each with its outcome. */
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { suite, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { ANSWER_BYTES_MAX } from './attempt.ts';
import { SNIPPET_BYTES_MAX } from './snippet.ts';
import { anEndpoint, anEvent, startRaw, startSender } from './testing.ts';

/** The real time that a test with a hanging receiver takes. */
const SHORT_MS = 300;
const OK = 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n';

/** Writes the chunk as often and as fast as it is taken; answers how many bytes were. */
function pour(socket: Socket, chunk: Buffer): { bytes: number } {
  const poured = { bytes: 0 };
  const more = () => {
    while (!socket.destroyed && socket.write(chunk)) poured.bytes += chunk.length;
    poured.bytes += chunk.length;
  };
  socket.on('drain', more);
  more();
  return poured;
}

suite('a receiver that', () => {
  test('answers 200 with 10 GB has received the event; a few hundred kilobytes of it are taken', async (t) => {
    let poured = { bytes: 0 };
    const receiver = await startRaw(t, (socket) => {
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 10737418240\r\n\r\n');
      poured = pour(socket, Buffer.alloc(16 * 1024, 'x'));
    });
    const sender = startSender(t, anEndpoint(receiver.url));
    const outcome = await sender.attempt();
    assert.deepEqual([outcome.status, outcome.failure, outcome.snippet], [200, null, null]);
    assert.ok(poured.bytes < 64 * 1024 * 1024, `${poured.bytes} bytes, most of them in the buffers of the sockets`);
    assert.equal((await sender.attempt()).failure, null, 'on a connection of its own');
    assert.equal(receiver.connections, 2);
  });

  test('answers 500 with an endless body fails with the first 4 KiB of it', async (t) => {
    const receiver = await startRaw(t, (socket) => {
      socket.write('HTTP/1.1 500 Oops\r\ntransfer-encoding: chunked\r\n\r\n');
      pour(socket, Buffer.from(`1000\r\n${'y'.repeat(4_096)}\r\n`));
    });
    const outcome = await startSender(t, anEndpoint(receiver.url)).attempt();
    assert.deepEqual([outcome.status, outcome.failure?.class], [500, 'status']);
    assert.equal(outcome.snippet, 'y'.repeat(SNIPPET_BYTES_MAX));
    assert.ok(ANSWER_BYTES_MAX > SNIPPET_BYTES_MAX);
  });

  test('drips its answer byte by byte runs into the deadline, which is not moved by it', async (t) => {
    const receiver = await startRaw(t, (socket) => {
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n');
      const drip = setInterval(() => socket.write('.'), 20);
      socket.on('close', () => clearInterval(drip));
    });
    const outcome = await startSender(t, anEndpoint(receiver.url), { deadlineMs: SHORT_MS }).attempt();
    assert.deepEqual([outcome.status, outcome.failure?.class], [200, 'timeout']);
    assert.match(outcome.failure!.message, /began with 200 and did not end within 0\.3 s/);
    assert.ok(outcome.durationMs >= SHORT_MS - 5 && outcome.timings.firstByteMs !== null);
  });

  test('never answers runs into the deadline; so does one that drips its headers', async (t) => {
    const silent = await startRaw(t, () => {});
    const dripping = await startRaw(t, (socket) => {
      const drip = setInterval(() => socket.write('H'), 20);
      socket.on('close', () => clearInterval(drip));
    });
    const outcome = await startSender(t, anEndpoint(silent.url), { deadlineMs: SHORT_MS }).attempt();
    assert.deepEqual([outcome.status, outcome.timings.firstByteMs], [null, null]);
    assert.match(outcome.failure!.message, /^No answer came within 0\.3 s/);
    const other = await startSender(t, anEndpoint(dripping.url), { deadlineMs: SHORT_MS }).attempt();
    assert.match(other.failure!.message, /not valid HTTP|No answer came/);
  });

  test("closes in the middle of its answer, or before it, has not received the event; a fresh connection's end is not tried again", async (t) => {
    const half = await startRaw(t, (socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf'));
    const outcome = await startSender(t, anEndpoint(half.url)).attempt();
    assert.deepEqual([outcome.status, outcome.failure?.class], [200, 'connection']);
    assert.match(outcome.failure!.message, /in the middle of its answer/);
    const before = await startRaw(t, (socket) => socket.end());
    const closed = await startSender(t, anEndpoint(before.url)).attempt();
    assert.match(closed.failure!.message, /closed the connection before it answered/);
    const reset = await startRaw(t, (socket) => socket.resetAndDestroy());
    const broken = await startSender(t, anEndpoint(reset.url)).attempt();
    assert.match(broken.failure!.message, /reset the connection before it answered/);
    assert.deepEqual([half.requests.length, before.requests.length, reset.requests.length], [1, 1, 1]);
  });

  test('speaks no HTTP is told so', async (t) => {
    for (const answer of [
      '220 mail.example ESMTP\r\n',
      'HTTP/9.9 200 OK\r\n\r\n',
      'HTTP/1.1 abc\r\n\r\n',
      '\x16\x03\x01\x00\x02\x01\x00',
    ]) {
      const receiver = await startRaw(t, (socket) => socket.end(answer));
      const outcome = await startSender(t, anEndpoint(receiver.url)).attempt();
      assert.equal(outcome.failure?.class, 'protocol', JSON.stringify(answer));
      assert.match(outcome.failure!.message, /not valid HTTP\/1\.1/);
    }
    const chunked = await startRaw(t, (socket) => socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzzz\r\n'));
    const outcome = await startSender(t, anEndpoint(chunked.url)).attempt();
    assert.match(outcome.failure!.message, /^The body of the answer is not valid/);
  });

  test('sends interim answers without end is stopped; a few are no harm', async (t) => {
    const storm = await startRaw(t, (socket) => {
      pour(socket, Buffer.from('HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n'));
    });
    const outcome = await startSender(t, anEndpoint(storm.url)).attempt();
    assert.deepEqual([outcome.status, outcome.failure?.class], [null, 'protocol']);
    assert.match(outcome.failure!.message, /1xx/);
    const few = await startRaw(t, (socket) => socket.write('HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(3) + OK));
    assert.equal((await startSender(t, anEndpoint(few.url)).attempt()).status, 200);
    for (const first of [
      'HTTP/1.1 100 Continue\r\n\r\n',
      'HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n',
    ]) {
      const odd = await startRaw(t, (socket) => socket.write(first + OK));
      const unasked = await startSender(t, anEndpoint(odd.url)).attempt();
      assert.match(unasked.failure?.message ?? '', /100 or 101/, first);
    }
  });

  test('answers with a gzip bomb finds it unopened', async (t) => {
    const bomb = gzipSync(Buffer.alloc(32 * 1024 * 1024));
    const receiver = await startRaw(t, (socket, request) => {
      const status = request.includes('"item_id":1}') ? '500 Oops' : '200 OK';
      socket.write(`HTTP/1.1 ${status}\r\ncontent-encoding: gzip\r\ncontent-length: ${bomb.length}\r\n\r\n`);
      socket.write(bomb);
    });
    assert.ok(bomb.length < ANSWER_BYTES_MAX, 'it would fit');
    const sender = startSender(t, anEndpoint(receiver.url));
    const failed = await sender.attempt();
    assert.deepEqual([failed.failure?.class, failed.snippet], ['status', '(not unpacked: gzip)']);
    assert.equal((await sender.attempt(anEvent({ content: '{"item_id":2}' }))).failure, null);
    assert.doesNotMatch(receiver.requests[0]!, /accept-encoding/i);
  });

  test('sends a flood of headers is stopped', async (t) => {
    const receiver = await startRaw(t, (socket) => {
      socket.write('HTTP/1.1 200 OK\r\n');
      pour(socket, Buffer.from(`x-filler: ${'z'.repeat(1_000)}\r\n`));
    });
    const outcome = await startSender(t, anEndpoint(receiver.url)).attempt();
    assert.equal(outcome.failure?.class, 'protocol');
    assert.match(outcome.failure!.message, /headers are longer than 16 KiB/);
  });

  test('answers twice loses only that connection', async (t) => {
    const receiver = await startRaw(t, (socket) => socket.write(OK + OK));
    const sender = startSender(t, anEndpoint(receiver.url));
    assert.equal((await sender.attempt()).failure, null);
    assert.equal((await sender.attempt()).failure, null);
  });

  test('closes an idle connection just as it is used is asked once more, in the same attempt', async (t) => {
    let closing = false;
    const receiver = await startRaw(t, (socket) => {
      if (closing) {
        closing = false;
        socket.destroy();
      } else socket.write(OK);
    });
    const sender = startSender(t, anEndpoint(receiver.url));
    const first = await sender.attempt();
    assert.ok(first.timings.connectMs !== null);
    const second = await sender.attempt();
    assert.deepEqual([second.timings.connectMs, receiver.connections], [null, 1], 'on the same connection');
    closing = true;
    const third = await sender.attempt();
    assert.deepEqual([third.failure, third.status, receiver.connections, receiver.requests.length], [null, 200, 2, 4]);
    assert.ok(third.timings.connectMs !== null, 'the connection of the second request');
    assert.equal(receiver.requests[2], receiver.requests[3], 'the same bytes');
  });

  test('closes every connection is asked twice at most', async (t) => {
    let closing = false;
    const receiver = await startRaw(t, (socket) => (closing ? socket.destroy() : socket.write(OK)));
    const sender = startSender(t, anEndpoint(receiver.url));
    await sender.attempt();
    closing = true;
    const outcome = await sender.attempt();
    assert.deepEqual([outcome.failure?.class, receiver.requests.length], ['connection', 3]);
  });

  test('cannot be looked up any more, for now or for good, is told which', async (t) => {
    const receiver = await startRaw(t, (socket) => socket.end(OK.replace('OK\r\n', 'OK\r\nconnection: close\r\n')));
    let fault: string | null = null;
    const resolve = async () => {
      if (fault !== null) throw Object.assign(new Error(fault), { code: fault });
      return [{ address: '127.0.0.1', family: 4 }];
    };
    const policy = { allowLoopback: true, allowedRanges: [], allowedPorts: [[1, 65_535]] as const };
    const sender = startSender(t, anEndpoint(`http://receiver.test:${receiver.port}/`), { resolve, policy });
    const first = await sender.attempt();
    assert.ok(first.failure === null && first.timings.dnsMs !== null && first.timings.connectMs !== null);
    fault = 'ENOTFOUND';
    const gone = await sender.attempt();
    assert.deepEqual([gone.failure?.class, gone.timings.dnsMs], ['dns', null]);
    assert.match(gone.failure!.message, /does not exist/);
    fault = 'EAI_AGAIN';
    assert.match((await sender.attempt()).failure!.message, /for now/);
    fault = null;
    assert.equal((await sender.attempt()).failure, null, 'as soon as it can be');
  });
});

suite('a deadline', () => {
  test('says in which phase it ended', async (t) => {
    const never = new Promise<never>(() => {});
    const policy = { allowLoopback: true, allowedRanges: [], allowedPorts: [[1, 65_535]] as const };
    const lookup = startSender(t, anEndpoint('http://receiver.test/'), { resolve: () => never, policy, deadlineMs: SHORT_MS });
    const slow = await lookup.attempt();
    assert.deepEqual([slow.failure?.class, slow.timings], ['timeout', { dnsMs: null, connectMs: null, tlsMs: null, firstByteMs: null }]);
    assert.match(slow.failure!.message, /not looked up within/);
    const mute = await startRaw(t, () => {});
    const handshake = startSender(t, anEndpoint(mute.url.replace('http:', 'https:')), { deadlineMs: SHORT_MS });
    const stuck = await handshake.attempt();
    assert.match(stuck.failure!.message, /TLS was not set up within/);
    assert.ok(stuck.timings.connectMs !== null && stuck.timings.tlsMs === null);
  });

  test('of the endpoint goes before that of the server', async (t) => {
    const silent = await startRaw(t, () => {});
    const sender = startSender(t, anEndpoint(silent.url, { deadlineMs: SHORT_MS }), { deadlineMs: 60_000 });
    assert.match((await sender.attempt()).failure!.message, /within 0\.3 s/);
  });

  test('leaves the next attempts alone', async (t) => {
    let hangs = true;
    const receiver = await startRaw(t, (socket) => {
      if (!hangs) socket.write(OK);
    });
    const sender = startSender(t, anEndpoint(receiver.url), { deadlineMs: SHORT_MS });
    const hung = await Promise.all([sender.attempt(), sender.attempt(), sender.attempt()]);
    assert.ok(hung.every(({ failure }) => failure?.class === 'timeout'));
    hangs = false;
    const after = await Promise.all([sender.attempt(), sender.attempt()]);
    assert.ok(after.every(({ failure }) => failure === null));
  });
});

test('a sender that closes lets what is under way end, and one that is destroyed does not', async (t) => {
  let answer: (() => void) | null = null;
  const receiver = await startRaw(t, (socket) => {
    answer = () => socket.write(OK);
    seen.resolve();
  });
  let seen = Promise.withResolvers<void>();
  const closing = startSender(t, anEndpoint(receiver.url));
  const last = closing.attempt();
  await seen.promise;
  const closed = closing.close();
  answer!();
  assert.equal((await last).failure, null);
  await closed;
  seen = Promise.withResolvers<void>();
  const destroyed = startSender(t, anEndpoint(receiver.url));
  const broken = destroyed.attempt();
  await seen.promise;
  await destroyed.destroy();
  assert.equal((await broken).failure?.class, 'connection');
});
