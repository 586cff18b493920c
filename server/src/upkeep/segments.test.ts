import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { eachEngine, freshTarget } from '../../test/support/engines.ts';
import { DAY_MS } from '../base/clock.ts';
import { readTail, readTails } from '../delivery/lanes/reader.ts';
import { createLanes, readEvents, readLane } from '../events/log.ts';
import { boundsIn, openNextSegment, readSegments, type Segment } from '../events/segments.ts';
import { migrate, migrations } from '../storage/migrate.ts';
import { openStorage } from '../storage/open.ts';
import { sql, sqlText } from '../storage/sql.ts';
import type { Storage } from '../storage/storage.ts';
import { makePartitions, readPartitions } from './partitions.ts';
import { keepSegments, SEGMENT_AGE_MAX_MS, SEGMENT_EVENTS_MAX, segmentMove } from './segments.ts';
import { append, createApplication, everything, explain, laneOfItem, listen } from './testing.ts';

const NOW = 1_700_000_000_000;
const at = (now: number) => ({ now, believed: now });

suite('segment bounds', () => {
  test('never leave out the segment of an event, however old the map is', () => {
    const sizes = fc.array(fc.array(fc.nat(3), { minLength: 2, maxLength: 2 }), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(sizes, fc.nat(6), fc.nat(6), fc.nat(1), fc.nat(18), fc.nat(18), (perSegment, oldest, newest, lane, a, b) => {
        const starts = [[0, 0]];
        for (const size of perSegment) starts.push(starts.at(-1)!.map((start, index) => start + size[index]!));
        const all: Segment[] = perSegment.map((_, index) => ({
          segment: index + 1,
          starts: starts[index]!,
          openedAt: 0,
          closedAt: null,
          frozenAt: null,
        }));
        const map = all.slice(Math.min(oldest, newest), Math.max(oldest, newest));
        const [after, through] = [Math.min(a, b), Math.max(a, b)];
        const bounds = boundsIn(map, lane, after, through);
        for (let seq = after + 1; seq <= Math.min(through, starts.at(-1)![lane]!); seq += 1) {
          const { segment } = all.findLast((one) => one.starts[lane]! < seq)!;
          // What retention has taken before the map was read is not there to be found.
          if (segment < (map[0]?.segment ?? 0)) continue;
          assert.ok(segment >= bounds.from && segment <= bounds.through, `seq ${seq} is in ${segment}`);
        }
      }),
    );
  });

  test('a segment is closed when it is a day old or full, and never while it is empty', () => {
    const segment: Segment = { segment: 1, starts: [], openedAt: NOW, closedAt: null, frozenAt: null };
    assert.equal(segmentMove(segment, 5, NOW + SEGMENT_AGE_MAX_MS - 1), 'stay');
    assert.equal(segmentMove(segment, 5, NOW + SEGMENT_AGE_MAX_MS), 'open next');
    assert.equal(segmentMove(segment, 0, NOW + SEGMENT_AGE_MAX_MS), 'begin again');
    assert.equal(segmentMove(segment, SEGMENT_EVENTS_MAX, NOW), 'open next');
    assert.equal(segmentMove(segment, 5, NOW - 5 * DAY_MS), 'stay', 'a clock that jumps back closes nothing');
  });
});

async function raise(storage: Storage, current: number): Promise<void> {
  assert.ok(await makePartitions(storage, current, current + 1));
  assert.ok(await storage.transaction((tx) => openNextSegment(tx, storage, current, { openedAt: NOW, closedAt: NOW })));
}

eachEngine('segments', (open, engine) => {
  test('begin in all lanes at once, whatever is being written', async (t) => {
    const storage = await open(t);
    await createApplication(storage);
    await makePartitions(storage, 1, 4);
    const writing = Array.from({ length: 80 }, (_, index) => append(storage, [index, index + 1, index + 40], NOW));
    const raising = (async () => {
      for (const current of [1, 2, 3])
        await storage.transaction((tx) => openNextSegment(tx, storage, current, { openedAt: NOW, closedAt: NOW }));
    })();
    await Promise.all([...writing, raising]);
    const segments = await readSegments(storage);
    assert.deepEqual(
      segments.map(({ segment }) => segment),
      [1, 2, 3, 4],
    );
    const events = await everything(storage);
    assert.equal(events.length, 240);
    for (const { segment, lane, seq } of events) {
      assert.equal(segment, segments.findLast(({ starts }) => starts[lane]! < seq)?.segment);
    }
  });

  test('a log from before the segments is carried over whole', async (t) => {
    const target = await freshTarget(engine, t);
    const storage = openStorage(target);
    t.after(() => storage.close());
    await storage.transaction(async (tx) => {
      await tx.run(sql`create table migrations (version bigint primary key, name text not null, applied_at bigint not null)`);
      for (const { version, name, text } of migrations().filter((migration) => migration.version <= 2)) {
        for (const statement of text.split(/;\s*$/m)) {
          if (statement.replace(/^\s*--.*$/gm, '').trim()) await tx.run(sqlText(statement));
        }
        await tx.run(sql`insert into migrations (version, name, applied_at) values (${version}, ${name}, 0)`);
      }
      for (let seq = 1; seq <= 3; seq += 1) {
        await tx.run(
          sql`insert into events (segment, lane, seq, application_id, type, content, timestamp, committed_at) values (1, 5, ${seq}, 'app', 'item.created', '{}', 0, ${NOW + seq})`,
        );
        await tx.run(
          sql`insert into attempts (segment, lane, seq, endpoint_id, source, n, at, delivered, duration_ms) values (1, 5, ${seq}, 'wh', 'live', 1, 0, 1, 2.5)`,
        );
      }
    });
    await migrate(storage, 0);
    await createLanes(storage);
    assert.deepEqual(
      (await readLane(storage, 5, 0, 10)).map(({ seq, segment, committedAt }) => [seq, segment, committedAt - NOW]),
      [
        [1, 1, 1],
        [2, 1, 2],
        [3, 1, 3],
      ],
    );
    const attempts = await storage.all<{ seq: number; duration_ms: number }>(sql`select seq, duration_ms from attempts order by seq`);
    assert.deepEqual(
      attempts.map(({ seq, duration_ms }) => [seq, duration_ms]),
      [
        [1, 2.5],
        [2, 2.5],
        [3, 2.5],
      ],
    );
    assert.equal((await readSegments(storage))[0]?.openedAt, NOW + 1);
    await storage.transaction((tx) => tx.run(sql`update lane_heads set head = 3 where lane = 5`));
    await raise(storage, 1);
    await assert.rejects(
      storage.transaction((tx) => tx.run(sql`insert into events select * from events where seq = 1`)),
      /unique/i,
    );
  });

  test('the second of two that raise the same segment does nothing', async (t) => {
    const storage = await open(t);
    await makePartitions(storage, 1, 2);
    const raised = await Promise.all(
      [1, 1].map((current) => storage.transaction((tx) => openNextSegment(tx, storage, current, { openedAt: NOW, closedAt: NOW }))),
    );
    assert.deepEqual(raised.sort(), [false, true]);
  });

  test('upkeep opens the next one a day after the first event, and has its partitions ready before', async (t) => {
    const storage = await open(t);
    await createApplication(storage);
    assert.equal(await keepSegments(storage, at(NOW)), null, 'an empty log stays in its segment');
    await append(storage, [1], NOW);
    assert.equal(await keepSegments(storage, at(NOW + DAY_MS - 1)), null);
    assert.equal(await keepSegments(storage, at(NOW + DAY_MS)), 2);
    assert.equal(await keepSegments(storage, at(NOW + 3 * DAY_MS)), null, 'nothing was written since');
    assert.equal((await readSegments(storage)).at(-1)?.openedAt, NOW + 3 * DAY_MS);
    assert.equal((await readSegments(storage))[0]?.closedAt, NOW + DAY_MS);
    await append(storage, [1], NOW + 4 * DAY_MS);
    assert.deepEqual(
      (await everything(storage)).map(({ segment }) => segment),
      [1, 2],
    );
    if (engine === 'sqlite') return;
    const made = (await readPartitions(storage)).map(({ parent, segment, state }) => `${parent} ${segment} ${state}`).sort();
    assert.deepEqual(
      made,
      ['attempts', 'events'].flatMap((parent) => [1, 2, 3].map((segment) => `${parent} ${segment} attached`)),
    );
  });

  test('reading goes on into a segment that the map does not know yet', async (t) => {
    const storage = await open(t);
    await createApplication(storage);
    await append(storage, [7], NOW);
    const lane = laneOfItem(7);
    assert.equal((await readLane(storage, lane, 0, 10)).length, 1);
    await raise(storage, 1);
    await raise(storage, 2);
    await append(storage, [7, 7], NOW);
    assert.deepEqual(
      (await readLane(storage, lane, 1, 10)).map(({ seq, segment }) => [seq, segment]),
      [
        [2, 3],
        [3, 3],
      ],
    );
    assert.equal((await readEvents(storage, lane, [1, 3])).length, 2);
  });

  test('reading a lane touches the segments that can hold the answer, by the key', async (t) => {
    const storage = await open(t);
    await createApplication(storage);
    const items = Array.from({ length: 300 }, (_, index) => index);
    for (const current of [1, 2, 3, 4]) {
      await append(storage, items, NOW);
      await raise(storage, current);
    }
    await append(storage, items, NOW);
    const segments = await readSegments(storage);
    const lane = laneOfItem(1);
    const { starts } = segments[1]!;
    const { reader, statements } = listen(storage);
    await readLane(reader, lane, starts[lane]!, 2);
    await readTail(reader, lane, starts[lane]!, 2);
    await readEvents(reader, lane, [starts[lane]! + 1]);
    await readTail(reader, lane, segments[4]!.starts[lane]!, 200);
    const [ofLane, tail, named, end] = statements.filter(({ strings }) => strings.join('').includes('from events'));
    for (const [query, read] of [
      [ofLane!, [2]],
      [tail!, [2]],
      [named!, [2]],
      [end!, [5]],
    ] as const) {
      const plan = await explain(storage, query);
      if (engine === 'postgres') {
        const touched = new Set([...plan.matchAll(/ on events_(\d+)/g)].map(([, number]) => Number(number)));
        assert.deepEqual([...touched].filter((segment) => segment <= 5).sort(), read, plan);
        assert.doesNotMatch(plan, /Seq Scan on events_[1-5]/);
      } else assert.match(plan, /SEARCH events USING INDEX sqlite_autoindex_events_1 \(lane=\? AND seq[>=]/);
    }
  });

  test('reading several lanes touches no segment before theirs', { skip: engine === 'sqlite' }, async (t) => {
    const storage = await open(t);
    await createApplication(storage);
    const items = Array.from({ length: 300 }, (_, index) => index);
    for (const current of [1, 2, 3]) {
      await append(storage, items, NOW);
      await raise(storage, current);
    }
    await append(storage, items, NOW);
    const segments = await readSegments(storage);
    const { reader, statements } = listen(storage);
    const lanes = [laneOfItem(1), laneOfItem(2)];
    const positions = lanes.map((lane) => ({ lane, afterSeq: segments[3]!.starts[lane]! - 1 }));
    const read = (await readTails(reader, positions, 200)).lanes;
    assert.deepEqual([...read.keys()].sort(), [...lanes].sort());
    for (const { lane, afterSeq } of positions) {
      const single = (await readTail(reader, lane, afterSeq, 200)).events;
      assert.deepEqual(read.get(lane), single);
      assert.deepEqual(new Set(single.map(({ segment }) => segment)), new Set([3, 4]));
    }
    const plan = await explain(storage, statements.find(({ strings }) => strings.join('').includes('lateral'))!);
    const touched = new Set([...plan.matchAll(/ on events_(\d+)/g)].map(([, number]) => Number(number)));
    assert.deepEqual([...touched].filter((segment) => segment <= 4).sort(), [3, 4], plan);
    assert.doesNotMatch(plan, /Seq Scan on events_[1-4]/);
  });

  test('reading goes over what retention has taken, with a map from before', async (t) => {
    const storage = await open(t);
    await createApplication(storage);
    const items = Array.from({ length: 10 }, () => 7);
    const lane = laneOfItem(7);
    await append(storage, items, NOW);
    await raise(storage, 1);
    await append(storage, items, NOW);
    await raise(storage, 2);
    await append(storage, items, NOW);
    assert.equal((await readLane(storage, lane, 0, 5)).length, 5, 'and the map is read');
    await storage.transaction((tx) => tx.run(sql`delete from events where segment = 1`));
    assert.deepEqual(
      (await readLane(storage, lane, 3, 4)).map(({ seq }) => seq),
      [11, 12, 13, 14],
    );
    assert.equal((await readLane(storage, lane, 8, 20)).length, 20);
  });

  test('a partition that a crash left half made is finished by the next round', { skip: engine === 'sqlite' }, async (t) => {
    const storage = await open(t);
    await storage.maintain!((run) => run(sql`create table events_2 (like events including all)`));
    assert.equal((await readPartitions(storage)).find(({ segment }) => segment === 2)?.state, 'loose');
    assert.ok(await makePartitions(storage, 1, 2));
    assert.ok((await readPartitions(storage)).every(({ state }) => state === 'attached'));
    assert.equal((await readPartitions(storage)).length, 4);
  });

  test('one node at a time maintains, and gives up a lock that it would wait for', { skip: engine === 'sqlite' }, async (t) => {
    const storage = await open(t);
    await storage.maintain!(async () => {
      assert.equal(await storage.maintain!(async () => 'in'), 'busy');
    });
    assert.equal(await storage.maintain!(async () => 'in'), 'in');
    await storage.transaction(async (tx) => {
      await tx.run(sql`lock table events in access exclusive mode`);
      assert.equal(await makePartitions(storage, 1, 2), false);
    });
    assert.equal(await makePartitions(storage, 1, 2), true);
  });
});
