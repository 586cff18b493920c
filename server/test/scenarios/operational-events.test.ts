/** What operators are told of deliveries: five kinds of events about webhooks, which another webhook of the application receives. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { verify } from '@pontage/sdk';
import { HOUR_MS, MINUTE_MS, SECOND_MS } from '../../src/base/clock.ts';
import { startDelivery } from '../../src/delivery/delivery.ts';
import { type Received, type Receiver, startReceiver } from '../../src/delivery/testing.ts';
import { appendEvents } from '../../src/events/append.ts';
import { type EventDraft, OPERATIONAL_TYPES } from '../../src/events/catalogue.ts';
import { laneOf, readLane } from '../../src/events/log.ts';
import { openHouse, START, type Tenant } from '../../src/http/api/harness.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { silentLog } from '../../src/telemetry/log.ts';
import { tellOperators } from '../../src/upkeep/upkeep.ts';
import { createVault, deriveWrappingKey } from '../../src/vault/vault.ts';
import { eachEngine } from '../support/engines.ts';

const POLICY = { allowLoopback: true, allowedRanges: [] };
const USER = '9a95b38f-f98b-417a-988b-9d0d584893e7';
const RETRY_AFTER_MS = 2 * SECOND_MS;
/** Heartbeats: some minutes of the node's own clock. */
const BEATS_MAX = 2_000;

type Webhook = { id: string; secret: string; receiver: Receiver };
type Told = { content: Record<string, unknown> & { endpoint_id: string }; timestamp: number; type: string };

/** An application over the management API, a node that delivers, and a clock that only the story moves. */
async function open(storage: Storage, t: TestContext) {
  const key = deriveWrappingKey('a wrapping key of this story, long enough');
  const vault = createVault(() => ({ current: key, all: [key] }));
  const house = openHouse(storage, { vault });
  const app = await house.application();
  const { clock } = house;
  let monotonicMs = 0;
  const delivery = startDelivery({
    ...{ storage, vault, clock, policy: POLICY, version: '1.2.3', log: silentLog, random: () => 0.5 },
    monotonicMs: () => monotonicMs,
  });
  t.after(() => delivery.abandon());
  return {
    app,
    clock,
    storage,
    async append(draft: EventDraft) {
      const at = clock.now();
      const origin = { applicationId: app.id, refreshId: null, committedAt: at };
      await storage.transaction((tx) => appendEvents(tx, origin, [{ draft, timestamp: at }]));
    },
    /** Heartbeats until it holds. */
    async until(holds: () => boolean | Promise<boolean>) {
      for (let beats = 0; !(await holds()); beats += 1) {
        assert.ok(beats < BEATS_MAX, 'it does not come about');
        monotonicMs += SECOND_MS;
        await delivery.tick();
        await new Promise(setImmediate);
      }
    },
    round: () => tellOperators({ storage, clock, log: silentLog }),
  };
}

/** Answers what `statusOf` says of the type of an event. */
async function webhook(app: Tenant, t: TestContext, statusOf: (type: string) => number, settings: object): Promise<Webhook> {
  const receiver = await startReceiver(t, (_, response, { body }) => {
    response.writeHead(statusOf((JSON.parse(body) as { type: string }).type)).end();
  });
  const response = await app.send('POST', '/api/v1/webhooks', { url: receiver.url, ...settings });
  const text = await response.text();
  assert.equal(response.status, 201, text);
  return { ...(JSON.parse(text) as { id: string; secret: string }), receiver };
}

const health = async (app: Tenant, id: string) =>
  (await app.read<{ health: { circuit: string; next_probe_at: string | null } }>(`/api/v1/webhooks/${id}`)).health;
const backlog = async (app: Tenant, { id }: Webhook) =>
  (await app.read<{ backlog: { retry: number; dead: number } }>(`/api/v1/webhooks/${id}`)).backlog;
const about = ({ id, receiver }: Webhook, name: string) => ({ endpoint_id: id, name, url: receiver.url.replace('?a=b', '') });
const toldOf = (received: readonly Received[]) =>
  received.map(({ body }) => JSON.parse(body) as Told).filter(({ type }) => type.startsWith('pontage.'));

eachEngine('what operators are told', (openStorage) => {
  test('arrives at another webhook, signed, of each kind once, and never at the one that it tells of', async (t) => {
    const story = await open(await openStorage(t), t);
    const { app, clock } = story;
    const every = [...OPERATIONAL_TYPES];
    const operators = await webhook(app, t, () => 200, { name: 'Operators', events: every });
    let up = false;
    const failing = await webhook(app, t, () => (up ? 200 : 500), { name: 'Failing', events: ['item.created', ...every] });
    const gone = await webhook(app, t, () => 410, { name: 'Gone', events: ['item.account.created'] });
    const choosy = await webhook(app, t, (type) => (type.startsWith('pontage.') ? 200 : 500), {
      name: 'Choosy',
      events: ['item.account.deleted', ...every],
      retry_delays_ms: [RETRY_AFTER_MS],
    });
    const silent = await webhook(app, t, () => 200, { name: 'Silent', events: ['item.account.updated'], silent_after_ms: HOUR_MS });
    // It takes nothing, and is told of nothing but two events: deliveries that die, and that nobody hears of.
    const deaf = await webhook(app, t, () => 500, {
      name: 'Deaf',
      events: ['pontage.endpoint.failing', 'pontage.endpoint.disabled'],
      retry_delays_ms: [RETRY_AFTER_MS],
    });
    const heard = (type: string) => toldOf(operators.receiver.received).some((one) => one.type === type);

    for (let itemId = 1; itemId <= 10; itemId += 1) await story.append({ type: 'item.created', itemId, userUuid: USER });
    await story.until(() => heard('pontage.endpoint.failing'));
    await story.append({ type: 'item.account.created', itemId: 20, accountId: 1, userUuid: USER, balance: null });
    await story.until(() => heard('pontage.endpoint.disabled'));
    for (const itemId of [30, 31, 32]) await story.append({ type: 'item.account.deleted', itemId, accountId: 1, userUuid: USER });
    await story.until(async () => (await backlog(app, choosy)).retry === 3 && (await backlog(app, deaf)).retry === 2);
    // Each failed once and fails again, for good.
    clock.advance(2 * RETRY_AFTER_MS);
    const diedAt = clock.now();
    await story.until(async () => (await backlog(app, choosy)).dead === 3 && (await backlog(app, deaf)).dead === 2);

    up = true;
    const probeAt = Date.parse((await health(app, failing.id)).next_probe_at!);
    clock.advance(probeAt - clock.now());
    await story.until(() => heard('pontage.endpoint.recovered'));
    const recoveredAt = clock.now();
    clock.advance(HOUR_MS / 2);
    await story.append({ type: 'item.refreshed', itemId: 1, userUuid: USER, fullRefresh: false, statusCode: 0, statusCodeInfo: null });
    clock.advance(HOUR_MS / 2);
    const silentAt = clock.now();
    await story.round();
    await story.until(() => heard('pontage.endpoint.silent') && heard('pontage.delivery.dead'));
    // Once more, for what would have been told twice, or of the deliveries of these events themselves.
    clock.advance(MINUTE_MS);
    await story.round();
    await story.until(() => toldOf(failing.receiver.received).length === 3 && toldOf(choosy.receiver.received).length === 4);

    const minute = Math.floor(diedAt / MINUTE_MS) * MINUTE_MS;
    const told = toldOf(operators.receiver.received).map(({ content: { reason, ...facts }, ...event }) => {
      assert.match(String(reason), /\w.*\.$/);
      return { ...event, content: facts };
    });
    const expected = [
      { type: 'pontage.endpoint.failing', timestamp: START, content: { ...about(failing, 'Failing'), failing_since: START, failures: 10 } },
      { type: 'pontage.endpoint.disabled', timestamp: START, content: { ...about(gone, 'Gone'), cause: 'gone', disabled_at: START } },
      {
        type: 'pontage.endpoint.recovered',
        timestamp: recoveredAt,
        content: { ...about(failing, 'Failing'), failing_since: START, recovered_at: recoveredAt },
      },
      {
        type: 'pontage.endpoint.silent',
        timestamp: silentAt,
        content: { ...about(silent, 'Silent'), last_delivered_at: null, silent_after_ms: HOUR_MS },
      },
      {
        type: 'pontage.delivery.dead',
        timestamp: silentAt,
        content: { ...about(choosy, 'Choosy'), cause: 'attempts', count: 3, from: minute, until: minute + MINUTE_MS },
      },
    ];
    const order = (events: readonly { type: string }[]) => [...events].sort((a, b) => (a.type < b.type ? -1 : 1));
    assert.deepEqual(order(told), order(expected));

    for (const { body, headers } of operators.receiver.received) {
      const now = Number(headers['webhook-timestamp']) * SECOND_MS;
      verify(body, headers, operators.secret, { now, requireTimestamp: true });
      assert.throws(() => verify(body.replace('Failing', 'failing'), headers, failing.secret, { now }));
    }
    for (const one of [failing, choosy, gone, silent, deaf]) {
      const own = toldOf(one.receiver.received).filter(({ content }) => content.endpoint_id === one.id);
      assert.deepEqual(own, []);
    }
    // An item's events may share the application's lane.
    const lane = await readLane(story.storage, laneOf(`application:${app.id}`), 0, 100);
    const logged = lane.filter(({ type }) => type.startsWith('pontage.'));
    assert.equal(logged.length, 5, 'two deliveries of such events died at the deaf one, and nothing tells of them');
  });
});
