/** Reads of the tails of lanes, of which one fails or is slow while others go on. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachEngine } from '../../../test/support/engines.ts';
import { SECOND_MS } from '../../base/clock.ts';
import { laneOf } from '../../events/log.ts';
import { type Sql, sql } from '../../storage/sql.ts';
import type { Storage } from '../../storage/storage.ts';
import { audit } from '../audit/audit.ts';
import { createWorld, disable, enable, range, startReceiver, until, type World } from '../testing.ts';

const SLOW = laneOf('item:1');
const FAILS = laneOf('item:2');

const text = ({ strings }: Sql) => strings.join('');
const readsTailOf = (query: Sql, lane: number) => text(query).includes('from events where segment') && query.values.includes(lane);
const readsHeadOf = (query: Sql, lane: number) => text(query).includes('from lane_heads h where h.lane') && query.values.includes(lane);

/** Once `armed`, a tail read of one lane is answered when `answer` is called, and then a read of the other lane fails. */
function unsteady(real: Storage) {
  const control = { armed: false, held: null as (() => void) | null, failed: false };
  const fail = () => {
    control.failed = true;
    throw new Error('the read failed');
  };
  /** The one that is to fail ends after the one that is to be slow has been asked. */
  const held = async () => {
    while (control.held === null) await new Promise(setImmediate);
  };
  const isArmed = () => control.armed && !control.failed;
  const storage: Storage = {
    ...real,
    async all<T extends object>(query: Sql): Promise<T[]> {
      if (isArmed() && readsTailOf(query, FAILS)) return held().then(fail);
      if (isArmed() && control.held === null && readsTailOf(query, SLOW)) {
        const rows = await real.all<T>(query);
        await new Promise<void>((resolve) => {
          control.held = resolve;
        });
        return rows;
      }
      return real.all<T>(query);
    },
    async first<T extends object>(query: Sql): Promise<T | undefined> {
      if (isArmed() && readsHeadOf(query, FAILS)) return held().then(fail);
      return real.first<T>(query);
    },
  };
  return { storage, control };
}

const placeOf = async ({ storage }: World) =>
  (await storage.first<{ settled: number; head: number }>(
    sql`select l.settled, h.head from lane_leases l join lane_heads h on h.lane = l.lane where l.lane = ${SLOW}`,
  ))!;

eachEngine('a read of a tail that is slower than the next one', (open) => {
  test('is not believed, and its lane settles no further than it was sent', async (t) => {
    const real = await open(t);
    const world = await createWorld(real, t);
    const receiver = await startReceiver(t);
    const { endpoint } = await world.endpoint(receiver.url);
    await disable(world, endpoint.id);
    const { storage, control } = unsteady(real);
    let monotonicMs = 0;
    const node = await world.start({ storage, monotonicMs: () => monotonicMs });
    const beat = async () => {
      monotonicMs += SECOND_MS;
      await node.tick();
      await new Promise(setImmediate);
    };
    // This lane is passed over from here on, and the other one not yet.
    node.wake(await world.append([2]));
    await beat();
    control.armed = true;
    node.wake(await world.append([1, 2]));
    await until(node, () => control.failed);
    await beat();
    node.wake(await world.append([1, 1]));
    for (let beats = 0; beats < 5; beats += 1) await beat();
    control.held!();
    for (let beats = 0; beats < 5; beats += 1) await beat();
    const { settled, head } = await placeOf(world);
    assert.ok(settled <= head, `settled ${settled}, head ${head}`);

    await enable(world, endpoint.id);
    node.wake(await world.append(range(3).map(() => 1)));
    const all = 8;
    await until(node, () => {
      monotonicMs += SECOND_MS;
      return new Set(receiver.seqs()).size === all;
    });
    await beat();
    assert.deepEqual((await audit(real, { from: 0 })).faults, []);
  });
});
