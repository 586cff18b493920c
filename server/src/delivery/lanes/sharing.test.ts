import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { GOOD_FOR_MS, type LaneState, look, type Node, planLanes, STALE_AFTER_MS, silenceOf } from './sharing.ts';

const LANES = 64;
const node = (id: string, beats = 1, present = true): Node => ({ id, life: `life_${id}`, beats, present });

suite('sharing of lanes', () => {
  test('whoever joins or leaves, the nodes come to equal shares, and every lane has an owner', () => {
    const changes = fc.array(fc.oneof(fc.constant('join' as const), fc.nat(9)), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(changes, (given) => {
        let count = 0;
        let nodes: { id: string }[] = [];
        let lanes: LaneState[] = Array.from({ length: LANES }, (_, lane) => ({ lane, epoch: 0, head: 0, owner: null }));
        for (const change of given) {
          if (change === 'join') nodes.push({ id: `node_${++count}` });
          else {
            const gone = nodes[change]?.id;
            nodes = nodes.filter(({ id }) => id !== gone);
            lanes = lanes.map((lane) => (lane.owner === gone ? { ...lane, owner: null } : lane));
          }
          // Two heartbeats of each: the first gives, the second takes.
          for (const { id } of [...nodes, ...nodes]) {
            const { take, give } = planLanes(id, nodes, lanes);
            assert.ok(take.length === 0 || give.length === 0);
            lanes = lanes.map((lane) => {
              if (give.includes(lane.lane)) return { ...lane, owner: null };
              return take.includes(lane.lane) ? { ...lane, owner: id } : lane;
            });
          }
          if (nodes.length === 0) continue;
          const owned = nodes.map(({ id }) => lanes.filter(({ owner }) => owner === id).length);
          assert.equal(
            owned.reduce((sum, lanesOwned) => sum + lanesOwned, 0),
            LANES,
          );
          assert.ok(Math.max(...owned) <= Math.ceil(LANES / nodes.length));
          for (const { id } of nodes) assert.deepEqual(planLanes(id, nodes, lanes), { take: [], give: [] }, 'then all is quiet');
        }
      }),
    );
  });

  test('two that join together do not reach for the same lanes', () => {
    const lanes: LaneState[] = Array.from({ length: LANES }, (_, lane) => ({ lane, epoch: 0, head: 0, owner: null }));
    const nodes = [node('a'), node('b'), node('c')];
    const taken = nodes.flatMap(({ id }) => planLanes(id, nodes, lanes).take);
    assert.equal(new Set(taken).size, LANES);
  });

  test('silence is counted from when we saw the last beat, and a new life is heard', () => {
    let seen = look(new Map(), [node('a', 7)], 1_000);
    seen = look(seen, [node('a', 7)], 1_000 + STALE_AFTER_MS - 1);
    assert.equal(silenceOf(node('a', 7), seen, 1_000 + STALE_AFTER_MS - 1), 'suspect');
    assert.equal(silenceOf(node('a', 7, false), seen, 1_000 + STALE_AFTER_MS - 1), 'heard');
    assert.equal(silenceOf(node('a', 7, false), seen, 1_000 + STALE_AFTER_MS), 'stale');
    seen = look(seen, [{ ...node('a', 7), life: 'another' }], 20_000);
    assert.equal(silenceOf({ ...node('a', 7), life: 'another' }, seen, 20_000), 'heard');
    assert.ok(GOOD_FOR_MS < STALE_AFTER_MS);
  });
});
