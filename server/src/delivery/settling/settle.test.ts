import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachEngine } from '../../../test/support/engines.ts';
import { sql } from '../../storage/sql.ts';
import { missing } from '../channels/due.ts';
import type { Job, Result } from '../job.ts';
import { createLane } from '../lanes/lane.ts';
import { LaneLost, settle } from './settle.ts';

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
});

function resultOf(lane: ReturnType<typeof createLane>, seq: number): Result {
  const event = {
    ...missing({ endpoint_id: 'wh_a', lane: LANE, seq, item_id: 1, attempts: 0, sent: 0 }),
    segment: 1,
    type: 'item.created',
  };
  const job: Job = { lane, event, source: 'live', attempts: 0, sent: 0, parked: false, lag: null, queuedAt: 0 };
  const timings = { dnsMs: null, connectMs: null, tlsMs: null, firstByteMs: 1 };
  const outcome = { at: 0, status: 200, durationMs: 1, timings, retryAfterMs: null, failure: null, snippet: null, traceparent: null };
  return { job, endpointId: 'wh_a', outcome, park: null };
}
