import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachEngine } from '../../../test/support/engines.ts';
import { sql } from '../../storage/sql.ts';
import type { Result } from '../job.ts';
import { createLane } from '../lanes/lane.ts';
import { LaneLost, settle } from './settle.ts';
import { resultOf } from './testing.ts';

const NOTHING_ELSE = { repeated: false, now: 1_700_000_000_000, lagging: [], released: [], revive: [] };
const LANE = 7;

eachEngine('settling', (open) => {
  test('what may have been written before is written once, and what is new beside it too', async (t) => {
    const storage = await open(t);
    await storage.transaction((tx) => tx.run(sql`update lane_leases set owner = 'node_a', epoch = 3 where lane = ${LANE}`));
    const lane = createLane(LANE, 3, 0);
    const settlement = (seqs: readonly number[]) => ({
      ...{ owner: 'node_a', ...NOTHING_ELSE },
      results: seqs.map((seq) => resultOf(lane, seq)),
      positions: [{ lane, settled: seqs.at(-1)! }],
    });
    await settle(storage, settlement([1, 2]));
    // Its commit came through and its answer did not: the results are still there, and others have joined them.
    await settle(storage, settlement([1, 2, 3]));
    const rows = await storage.all<{ seq: number }>(sql`select seq from attempts where lane = ${LANE} order by seq`);
    assert.deepEqual(
      rows.map(({ seq }) => seq),
      [1, 2, 3],
    );
    const lease = await storage.first<{ settled: number }>(sql`select settled from lane_leases where lane = ${LANE}`);
    assert.equal(lease!.settled, 3);

    const taken = { ...settlement([1, 2, 3, 4]), owner: 'node_b' };
    await assert.rejects(settle(storage, taken), LaneLost, 'and the fence holds for a repetition too');
    assert.equal((await storage.all(sql`select seq from attempts where lane = ${LANE}`)).length, 3);
  });

  test('of two results of one delivery, of which the first was written and not heard of, the later one stands', async (t) => {
    const storage = await open(t);
    await storage.transaction((tx) => tx.run(sql`update lane_leases set owner = 'node_a', epoch = 3 where lane = ${LANE}`));
    const lane = createLane(LANE, 3, 0);
    const parked = (seq: number, attempts: number): Result => {
      const { job, ...result } = resultOf(lane, seq);
      const park = { state: 'retry', attempts, dueAt: 60_000 * attempts } as const;
      return { ...result, job: { ...job, attempts: attempts - 1, sent: attempts - 1, parked: attempts > 1 }, park };
    };
    const delivered = (seq: number): Result => {
      const { job, ...result } = resultOf(lane, seq);
      return { ...result, job: { ...job, attempts: 1, sent: 1, parked: true } };
    };
    const settlement = (results: Result[]) => ({ owner: 'node_a', ...NOTHING_ELSE, results, positions: [{ lane, settled: 2 }] });
    const first = [parked(1, 1), parked(2, 1)];
    await settle(storage, settlement(first));
    await settle(storage, { ...settlement([...first, parked(1, 2), delivered(2)]), repeated: true });
    const rows = await storage.all(sql`select seq, state, attempts, sent, due_at from parked where lane = ${LANE}`);
    assert.deepEqual(
      rows.map((row) => ({ ...row })),
      [{ seq: 1, state: 'retry', attempts: 2, sent: 2, due_at: 120_000 }],
    );
    const attempts = await storage.all<{ seq: number; n: number }>(sql`select seq, n from attempts where lane = ${LANE} order by seq, n`);
    assert.deepEqual(
      attempts.map(({ seq, n }) => [seq, n]),
      [
        [1, 1],
        [1, 2],
        [2, 1],
        [2, 2],
      ],
    );
  });
});
