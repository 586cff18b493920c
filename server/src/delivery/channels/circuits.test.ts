import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachEngine } from '../../../test/support/engines.ts';
import { DAY_MS, MINUTE_MS } from '../../base/clock.ts';
import { findEndpoint, updateEndpoint } from '../../endpoints/endpoints.ts';
import { sql } from '../../storage/sql.ts';
import type { Storage } from '../../storage/storage.ts';
import { context, createWorld, POLICY, type World } from '../testing.ts';
import { announce } from './announce.ts';
import { type Circuits, createCircuits, type Raised } from './circuits.ts';
import { FAILURES_TO_OPEN } from './health.ts';

function createNode(world: World, storage: Storage = world.storage, configurationVersion = () => 0) {
  const raised: Raised[] = [];
  const troubles: unknown[] = [];
  const circuits = createCircuits({
    storage,
    clock: world.clock,
    configurationVersion,
    raise: announce,
    onRaised: (some) => raised.push(...some),
    onTrouble: (error) => troubles.push(error),
  });
  return { circuits, raised, troubles };
}

const version = async ({ storage }: World) =>
  (await storage.first<{ sum: number }>(sql`select cast(coalesce(sum(revision), 0) as bigint) as sum from endpoint_health`))!.sum;
const told = async ({ storage }: World) =>
  (await storage.all<{ type: string }>(sql`select type from events where about_endpoint_id is not null order by seq`)).map(
    ({ type }) => type,
  );
function fail(circuits: Circuits, id: string, count = FAILURES_TO_OPEN) {
  for (let index = 0; index < count; index += 1) circuits.observe(id, { kind: 'failure' }, false);
}

eachEngine('circuits', (open) => {
  test('nodes agree on one outage: it is opened once, probed by one, and closed for all', async (t) => {
    const world = await createWorld(await open(t), t);
    const { endpoint } = await world.endpoint('http://127.0.0.1:9/');
    const [one, two] = [createNode(world), createNode(world)];
    fail(one.circuits, endpoint.id);
    fail(two.circuits, endpoint.id);
    await Promise.all([one.circuits.flush(), two.circuits.flush()]);
    await Promise.all([one.circuits.flush(), two.circuits.flush()]);
    assert.deepEqual(await told(world), ['pontage.endpoint.failing']);
    assert.equal(one.raised.length + two.raised.length, 1);
    assert.equal(one.circuits.of(endpoint.id).health.circuit.state, 'open');
    assert.equal(two.circuits.of(endpoint.id).health.circuit.state, 'open');
    assert.equal(await one.circuits.claimProbe(endpoint.id), false, 'not yet due');
    world.clock.advance(MINUTE_MS);
    const claims = await Promise.all([one, two].map(({ circuits }) => circuits.claimProbe(endpoint.id)));
    assert.deepEqual([...claims].sort(), [false, true]);
    two.circuits.observe(endpoint.id, { kind: 'success' }, true);
    await two.circuits.flush();
    await one.circuits.refresh(await version(world));
    assert.equal(one.circuits.of(endpoint.id).health.circuit.state, 'half_open');
    one.circuits.recover(endpoint.id);
    await one.circuits.flush();
    await two.circuits.refresh(await version(world));
    two.circuits.recover(endpoint.id);
    await two.circuits.flush();
    assert.deepEqual(two.circuits.of(endpoint.id).health.circuit, { state: 'closed', failing: null });
    assert.deepEqual(await told(world), ['pontage.endpoint.failing', 'pontage.endpoint.recovered']);
    assert.deepEqual([...one.troubles, ...two.troubles], []);
  });

  test('who was too late lets its own answers happen to what the other wrote', async (t) => {
    const world = await createWorld(await open(t), t);
    const { endpoint } = await world.endpoint('http://127.0.0.1:9/');
    const [one, two] = [createNode(world), createNode(world)];
    one.circuits.observe(endpoint.id, { kind: 'throttled', retryAfterMs: MINUTE_MS }, false);
    await one.circuits.flush();
    fail(two.circuits, endpoint.id);
    await two.circuits.flush();
    const { health } = two.circuits.of(endpoint.id);
    assert.equal(health.circuit.state, 'open');
    assert.equal(health.pause?.until, world.clock.now() + MINUTE_MS);
    await one.circuits.refresh(await version(world));
    assert.deepEqual(one.circuits.of(endpoint.id).health, health);
  });

  for (const opened of [true, false]) {
    test(`a new receiver is not held to what the old one did and nobody has written yet, ${opened ? 'open' : 'unopened'}`, async (t) => {
      const world = await createWorld(await open(t), t);
      const { endpoint } = await world.endpoint('http://127.0.0.1:9/');
      const configured = async () => (await world.storage.first<{ version: number }>(sql`select version from configuration`))!.version;
      let knows = await configured();
      const { circuits } = createNode(world, world.storage, () => knows);
      const stateOf = () => circuits.of(endpoint.id).health.circuit.state;
      fail(circuits, endpoint.id, opened ? FAILURES_TO_OPEN : FAILURES_TO_OPEN - 1);
      const writing = opened ? circuits.flush() : null;
      // While the circuit's opening is being written others of its answers come.
      if (opened) fail(circuits, endpoint.id);
      await writing;
      await updateEndpoint(context(world), endpoint.id, { url: 'http://127.0.0.1:19/' }, POLICY);
      await circuits.refresh(await version(world));
      assert.equal(stateOf(), opened ? 'half_open' : 'closed');
      fail(circuits, endpoint.id);
      await circuits.refresh(await version(world));
      knows = await configured();
      assert.equal(stateOf(), 'open', 'what it does itself counts');
      // A second one, while nothing of the first is written.
      await updateEndpoint(context(world), endpoint.id, { url: 'http://127.0.0.1:29/' }, POLICY);
      fail(circuits, endpoint.id);
      await circuits.refresh(await version(world));
      assert.equal(stateOf(), 'half_open');
    });
  }

  test('failures that open nothing write nothing, and neither do successes', async (t) => {
    const world = await createWorld(await open(t), t);
    const { endpoint } = await world.endpoint('http://127.0.0.1:9/');
    const { circuits } = createNode(world);
    for (let round = 0; round < 5; round += 1) {
      fail(circuits, endpoint.id, FAILURES_TO_OPEN - 1);
      circuits.observe(endpoint.id, { kind: 'success' }, false);
    }
    await circuits.flush();
    assert.equal(await version(world), 0);
  });

  test('410 disables in the same transaction, tells why, and is told once', async (t) => {
    const world = await createWorld(await open(t), t);
    const { endpoint } = await world.endpoint('http://127.0.0.1:9/');
    const [one, two] = [createNode(world), createNode(world)];
    one.circuits.observe(endpoint.id, { kind: 'gone' }, false);
    two.circuits.observe(endpoint.id, { kind: 'gone' }, false);
    for (const { circuits } of [one, two]) await circuits.flush();
    assert.equal((await findEndpoint(world.storage, endpoint.id))?.enabled, false);
    const row = await world.storage.first(sql`select disabled_reason, disabled_at from endpoints where id = ${endpoint.id}`);
    assert.deepEqual({ ...row }, { disabled_reason: 'gone', disabled_at: world.clock.now() });
    assert.deepEqual(await told(world), ['pontage.endpoint.disabled']);
  });

  test('five days of failed probes disable, with the reason', async (t) => {
    const world = await createWorld(await open(t), t);
    const { endpoint } = await world.endpoint('http://127.0.0.1:9/');
    const { circuits } = createNode(world);
    const start = world.clock.now();
    fail(circuits, endpoint.id);
    await circuits.flush();
    for (;;) {
      const { circuit } = circuits.of(endpoint.id).health;
      assert.equal(circuit.state, 'open');
      if (circuit.state === 'open') world.clock.advance(circuit.nextProbeAt - world.clock.now());
      assert.equal(await circuits.claimProbe(endpoint.id), true);
      circuits.observe(endpoint.id, { kind: 'failure' }, true);
      await circuits.flush();
      if (!(await findEndpoint(world.storage, endpoint.id))?.enabled) break;
    }
    const days = (world.clock.now() - start) / DAY_MS;
    assert.ok(days >= 5 && days < 5.02, `${days}`);
    assert.deepEqual(await told(world), ['pontage.endpoint.failing', 'pontage.endpoint.disabled']);
  });

  test('while the database refuses, what happens is kept, and written when it is back', async (t) => {
    const world = await createWorld(await open(t), t);
    const { endpoint } = await world.endpoint('http://127.0.0.1:9/');
    let down = true;
    const node = createNode(world, {
      ...world.storage,
      transaction: (work) => (down ? Promise.reject(new Error('away')) : world.storage.transaction(work)),
    });
    fail(node.circuits, endpoint.id);
    await node.circuits.flush();
    assert.equal(node.circuits.of(endpoint.id).health.circuit.state, 'open');
    assert.equal(node.troubles.length > 0, true);
    down = false;
    await node.circuits.flush();
    assert.deepEqual(await told(world), ['pontage.endpoint.failing']);
  });
});
