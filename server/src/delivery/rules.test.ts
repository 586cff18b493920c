import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { DAY_MS } from '../base/clock.ts';
import type { DeliverableEndpoint } from '../endpoints/endpoints.ts';
import { checkRetryDelays } from '../endpoints/limits.ts';
import { DEFAULT_SETTINGS } from '../endpoints/settings.ts';
import { renderBody, TEST_EVENT, TEST_EVENT_CONTENT, TEST_EVENT_TIMESTAMP } from '../events/catalogue.ts';
import type { LoggedEvent } from '../events/log.ts';
import { createQueue } from './channels/queue.ts';
import { afterFailure, RETRY_DELAYS_MS } from './channels/retry.ts';
import type { Job } from './job.ts';
import { createLane } from './lanes/lane.ts';
import { createMatcher } from './lanes/matching.ts';
import { createWindow } from './lanes/window.ts';
import { errorFailure, statusFailure, TargetRefused } from './sending/failure.ts';
import { createSigner } from './sending/signing.ts';

const event = (fields: Partial<LoggedEvent>): LoggedEvent => ({
  id: 'evt_000000000001',
  segment: 1,
  lane: 0,
  seq: 1,
  applicationId: 'app',
  type: 'item.created',
  userUuid: null,
  itemId: null,
  accountId: null,
  refreshId: null,
  endpointId: null,
  content: '{}',
  timestamp: 0,
  committedAt: 0,
  sequences: null,
  traceparent: null,
  aboutEndpointId: null,
  erased: false,
  ...fields,
});

suite('signing', () => {
  test('gives the documented signature of the documented body', () => {
    const sign = createSigner([{ secret: '644b2ac3-0797-4ec6-9537-cb5c0af9caf9', expiresAt: null }]);
    const body = renderBody({ type: TEST_EVENT, content: TEST_EVENT_CONTENT, timestamp: TEST_EVENT_TIMESTAMP });
    const signatures = sign('evt_1', '1611681789', Buffer.from(body), 0);
    assert.equal(signatures?.bridge, 'v1=FAA8ECAC21DA6405D789C76EDB4003756398E7169DACC3FA70CF5919A81374A8');
    assert.equal(signatures?.standard, null);
  });

  test('leaves out a secret that has expired, and signs nothing without any', () => {
    const sign = createSigner([
      { secret: 'whsec_AAAA', expiresAt: null },
      { secret: 'whsec_BBBB', expiresAt: 100 },
    ]);
    assert.equal(sign('evt_1', '0', Buffer.from('x'), 99)?.bridge.split(',').length, 2);
    assert.equal(sign('evt_1', '0', Buffer.from('x'), 100)?.bridge.split(',').length, 1);
    assert.equal(createSigner([])('evt_1', '0', Buffer.from('x'), 0), null);
  });
});

suite('retry', () => {
  test('each delay stays within a fifth of the schedule, which takes about three days', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 10 }),
        fc.nat(),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (attempts, now, random) => {
          const next = afterFailure(attempts, now, random);
          const delayMs = RETRY_DELAYS_MS[attempts - 1]!;
          assert.ok(
            next.state === 'retry' && next.dueAt - now >= Math.floor(delayMs * 0.8) && next.dueAt - now <= Math.ceil(delayMs * 1.2),
          );
        },
      ),
    );
    const totalMs = RETRY_DELAYS_MS.reduce((sum, delayMs) => sum + delayMs, 0);
    assert.ok(totalMs > 2.5 * DAY_MS && totalMs < 3.5 * DAY_MS);
  });

  test('after the last one the delivery is dead', () => {
    assert.deepEqual(afterFailure(11, 0, 0.5), { state: 'dead', dueAt: null });
  });

  test('an endpoint may have a schedule of its own, within limits', () => {
    assert.deepEqual(afterFailure(2, 0, 0.5, [1_000, 7_000]), { state: 'retry', dueAt: 7_000 });
    assert.deepEqual(afterFailure(3, 0, 0.5, [1_000, 7_000]), { state: 'dead', dueAt: null });
    assert.equal(checkRetryDelays(RETRY_DELAYS_MS), null);
    assert.equal(checkRetryDelays(Array(15).fill(7 * DAY_MS)), null);
    for (const wrong of [[], Array(16).fill(1_000), [999], [7 * DAY_MS + 1], [1_000.5], [Number.NaN]]) {
      assert.notEqual(checkRetryDelays(wrong), null, String(wrong));
    }
  });
});

suite('matching', () => {
  const endpoint = (id: string, versions: DeliverableEndpoint['versions'], applicationId = 'app'): DeliverableEndpoint => {
    return {
      ...DEFAULT_SETTINGS,
      id,
      applicationId,
      url: 'http://receiver.example/',
      enabled: true,
      skipThrough: null,
      secrets: [],
      versions,
    };
  };

  test('uses the version in force at the seq of the event, whenever it is read', () => {
    const match = createMatcher([
      endpoint('one', [
        { version: 1, events: ['item.created'], from: [10] },
        { version: 2, events: ['item.refreshed'], from: [20] },
      ]),
    ]);
    const matched = (seq: number, type: string) => match(event({ seq, type })).length === 1;
    assert.equal(matched(10, 'item.created'), false, 'the head at creation was written before');
    assert.equal(matched(11, 'item.created'), true);
    assert.equal(matched(20, 'item.created'), true);
    assert.equal(matched(21, 'item.created'), false);
    assert.equal(matched(21, 'item.refreshed'), true);
  });

  test('keeps applications apart, and gives a test event to its addressee alone', () => {
    const versions = [{ version: 1, events: ['item.created'], from: [0] }];
    const match = createMatcher([endpoint('one', versions), endpoint('two', versions), endpoint('other', versions, 'other app')]);
    assert.deepEqual(match(event({})), ['one', 'two']);
    assert.deepEqual(match(event({ type: TEST_EVENT, endpointId: 'two' })), ['two']);
    assert.deepEqual(match(event({ type: TEST_EVENT, endpointId: 'other' })), [], 'not of this application');
  });

  test('gives operational events to those who ask for them, and none to the endpoint that it tells of', () => {
    const from = [0];
    const match = createMatcher([
      endpoint('one', [{ version: 1, events: ['pontage.endpoint.failing'], from }]),
      endpoint('two', [{ version: 1, events: ['item.created', 'pontage.endpoint.failing'], from }]),
      endpoint('three', [{ version: 1, events: ['item.created'], from }]),
    ]);
    assert.deepEqual(match(event({ type: 'pontage.endpoint.failing', aboutEndpointId: 'one' })), ['two']);
    assert.deepEqual(match(event({ type: 'pontage.endpoint.failing', aboutEndpointId: 'three' })), ['one', 'two']);
  });
});

suite('window', () => {
  test('the settled position is always the last event before the first that waits', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(3), { maxLength: 40 }), fc.infiniteStream(fc.nat()), (counts, picks) => {
        const window = createWindow(100);
        const open: number[] = [];
        const waiting = new Map<number, number>();
        const expected = () => {
          const first = [...waiting].filter(([, count]) => count > 0).map(([seq]) => seq);
          return first.length > 0 ? Math.min(...first) - 1 : 100 + waiting.size;
        };
        for (const [index, count] of counts.entries()) {
          window.open(101 + index, count);
          waiting.set(101 + index, count);
          for (let each = 0; each < count; each += 1) open.push(101 + index);
          assert.equal(window.settled, expected());
        }
        while (open.length > 0) {
          const [seq] = open.splice(picks.next().value! % open.length, 1) as [number];
          window.close(seq);
          waiting.set(seq, waiting.get(seq)! - 1);
          assert.equal(window.settled, expected());
        }
      }),
    );
  });

  test('a gap that retention has left waits for nobody', () => {
    const window = createWindow(0);
    window.open(5, 1);
    assert.equal(window.settled, 4);
    window.close(5);
    assert.equal(window.settled, 5);
  });
});

suite('queue', () => {
  const lane = createLane(0, 1, 0);
  const job = (seq: number, itemId: number | null): Job => {
    return { lane, event: event({ seq, itemId }), source: 'live', attempts: 0, sent: 0, parked: false, lag: null, queuedAt: seq };
  };

  const nothing = () => assert.fail('nothing is held');
  const UNHELD = { admit: () => 'start' as const, held: nothing, stalled: nothing };

  test('each item has one event under way, in order, and none is lost, whatever ends first', () => {
    fc.assert(
      fc.property(
        fc.array(fc.option(fc.nat(4)), { maxLength: 60 }),
        fc.integer({ min: 1, max: 5 }),
        fc.infiniteStream(fc.nat()),
        (items, concurrency, picks) => {
          const started: Job[] = [];
          const running: { job: Job; finished: () => void }[] = [];
          const queue = createQueue({
            total: { queued: 0 },
            concurrency: () => concurrency,
            ordered: () => true,
            ...UNHELD,
            maySend: () => true,
            start(one, finished) {
              assert.ok(one.event.itemId === null || !running.some((other) => other.job.event.itemId === one.event.itemId));
              started.push(one);
              running.push({ job: one, finished });
            },
          });
          const finishOne = () => {
            const [one] = running.splice(picks.next().value! % running.length, 1);
            one!.finished();
          };
          items.forEach((itemId, index) => {
            queue.push(job(index + 1, itemId));
            if (picks.next().value! % 3 === 0 && running.length > 0) finishOne();
            assert.ok(queue.underWay <= concurrency);
          });
          while (running.length > 0) finishOne();
          assert.equal(started.length, items.length);
          assert.equal(queue.size + queue.live + queue.underWay, 0);
          for (const itemId of new Set(items.filter((id) => id !== null))) {
            const seqs = started.filter((one) => one.event.itemId === itemId).map((one) => one.event.seq);
            assert.deepEqual(
              seqs,
              [...seqs].sort((a, b) => a - b),
            );
          }
        },
      ),
    );
  });

  test('starts nothing while sending is held, and goes on when kicked', () => {
    let held = true;
    let started = 0;
    const queue = createQueue({
      total: { queued: 0 },
      concurrency: () => 2,
      ordered: () => true,
      ...UNHELD,
      maySend: () => !held,
      start: () => {
        started += 1;
      },
    });
    queue.push(job(1, 1));
    queue.push(job(2, 2));
    assert.equal(started, 0);
    assert.equal(queue.live, 2);
    held = false;
    queue.kick();
    assert.equal(started, 2);
  });
});

suite('failure', () => {
  test('each has a class, and a sentence that says what to do', () => {
    assert.equal(statusFailure(204, null), null);
    assert.equal(statusFailure(410, null)?.class, 'gone');
    assert.equal(statusFailure(301, 'https://example.com/')?.class, 'redirect');
    assert.match(statusFailure(401, null)!.message, /secret/);
    const classes: Record<string, string> = {
      ENOTFOUND: 'dns',
      ECONNREFUSED: 'refused',
      ECONNRESET: 'connection',
      UND_ERR_CONNECT_TIMEOUT: 'timeout',
      DEPTH_ZERO_SELF_SIGNED_CERT: 'tls',
      CERT_HAS_EXPIRED: 'tls',
      HPE_INVALID_CONSTANT: 'protocol',
      EHOSTUNREACH: 'unreachable',
    };
    for (const [code, expected] of Object.entries(classes))
      assert.equal(errorFailure(Object.assign(new Error(), { code })).class, expected);
    assert.equal(errorFailure(new TargetRefused('no')).class, 'guard');
    assert.equal(errorFailure(new AggregateError([Object.assign(new Error(), { code: 'ECONNREFUSED' })])).class, 'refused');
    assert.equal(errorFailure(null).class, 'connection');
    const tls: Record<string, RegExp> = {
      UNABLE_TO_VERIFY_LEAF_SIGNATURE: /intermediate/,
      CERT_NOT_YET_VALID: /not valid yet/,
      CERT_REVOKED: /revoked/,
      ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: /client certificate/,
      ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE: /nothing that both sides speak/,
      ERR_SSL_TLSV1_UNRECOGNIZED_NAME: /does not know this host name/,
      ERR_SSL_NO_IDEA: /after it was set up/,
    };
    for (const [code, sentence] of Object.entries(tls)) {
      const failure = errorFailure(Object.assign(new Error(), { code }));
      assert.equal(failure.class, 'tls', code);
      assert.match(failure.message, sentence);
    }
  });
});
