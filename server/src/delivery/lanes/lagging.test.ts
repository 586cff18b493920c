import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import type { LoggedEvent } from '../../events/log.ts';
import { createBook } from '../channels/book.ts';
import { createQueue, type Queue } from '../channels/queue.ts';
import type { Job } from '../job.ts';
import { close, type Follower, fallBehind, follow, isHanded, isWanted, putBack, restore, takeWrites } from './lagging.ts';
import { createLane, type Lag, type Lane } from './lane.ts';
import { holds, merge, type Position, type Range, rangesOf, subtract } from './position.ts';

const seqs = fc.uniqueArray(fc.integer({ min: 1, max: 60 }), { maxLength: 40 });
const all = (ranges: readonly Range[]) => ranges.flatMap(([first, last]) => Array.from({ length: last - first + 1 }, (_, i) => first + i));
const ascending = (values: Iterable<number>) => [...values].sort((a, b) => a - b);

suite('ranges', () => {
  test('merging, subtracting and asking agree with sets', () => {
    fc.assert(
      fc.property(seqs, seqs, (one, other) => {
        const [a, b] = [rangesOf(one), rangesOf(other)];
        assert.deepEqual(all(a), ascending(one));
        assert.deepEqual(all(merge([...a, ...b])), ascending(new Set([...one, ...other])));
        assert.deepEqual(
          all(subtract(a, b)),
          ascending(one).filter((seq) => !other.includes(seq)),
        );
        for (let seq = 0; seq < 62; seq += 1) assert.equal(holds(a, seq), one.includes(seq));
        for (let i = 1; i < a.length; i += 1) assert.ok(a[i]![0] > a[i - 1]![1] + 1, 'neighbours are joined');
      }),
    );
  });
});

/** One endpoint and one lane, as the tail, the catch-up, the receiver, the settler and crashes treat them, in any order. */
class Model {
  readonly head = 60;
  /** Of the lane's events, every third is for somebody else. */
  wanted = (seq: number) => seq % 3 !== 0;
  lane: Lane = createLane(0, 1, 0);
  follower!: Follower & { queue: Queue };
  running: { job: Job; finished: () => void }[] = [];
  /** What is in the database. */
  settled = 0;
  row: Position | null = null;
  attempts = new Set<number>();
  unflushed: number[] = [];
  deliveries = new Map<number, number>();
  crashes = 0;
  endangered = new Set<number>();

  constructor() {
    this.start();
  }

  private start() {
    this.lane = createLane(0, 1, this.settled);
    this.running = [];
    this.unflushed = [];
    const queue = createQueue({
      total: { queued: 0 },
      concurrency: () => 3,
      ordered: () => true,
      maySend: () => true,
      admit: () => 'start',
      held: () => assert.fail('nothing is held'),
      stalled: () => assert.fail('nothing is held'),
      start: (job, finished) => this.running.push({ job, finished }),
    });
    this.follower = { endpoint: { id: 'wh' }, lags: new Map<number, Lag>(), queue };
    for (const seq of this.attempts) if (seq > this.settled) this.lane.done.set(seq, new Set(['wh']));
    if (this.row) restore(this.follower, this.lane, this.row);
  }

  private push(seq: number, lag: Lag | null) {
    const event = { seq, itemId: seq % 5, lane: 0 } as LoggedEvent;
    this.follower.queue.push({ lane: this.lane, event, source: 'live', attempts: 0, sent: 0, parked: false, lag, queuedAt: 0 });
  }

  hand() {
    const { lane } = this;
    const seq = lane.handed + 1;
    if (seq > this.head) return;
    const lag = lane.lags.get('wh');
    const target = this.wanted(seq) && !lane.done.get(seq)?.has('wh') && isHanded(lag, seq);
    lane.done.delete(seq);
    lane.window.open(seq, target ? 1 : 0);
    lane.handed = seq;
    if (target) this.push(seq, null);
  }

  lag(drop: boolean) {
    fallBehind(this.follower, this.lane, { drop });
  }

  catchUp(limit: number) {
    const lag = this.lane.lags.get('wh');
    if (!lag || lag.following) return;
    if (lag.read >= this.lane.handed) return follow(lag);
    const through = Math.min(this.lane.handed, lag.read + limit);
    for (let seq = lag.read + 1; seq <= through; seq += 1) {
      if (!this.wanted(seq) || !isWanted(lag, seq)) continue;
      lag.owed.add(seq);
      this.push(seq, lag);
    }
    lag.read = through;
    this.lane.changed.add(lag);
  }

  answer(pick: number) {
    if (this.running.length === 0) return;
    const [{ job, finished }] = this.running.splice(pick % this.running.length, 1) as [(typeof this.running)[0]];
    const { seq } = job.event;
    this.deliveries.set(seq, (this.deliveries.get(seq) ?? 0) + 1);
    this.unflushed.push(seq);
    close(job);
    finished();
  }

  flush() {
    const { settled } = this.lane.window;
    const writes = takeWrites(this.lane, settled);
    assert.ok(settled >= this.settled, 'the lane goes back');
    this.settled = settled;
    for (const seq of this.unflushed) this.attempts.add(seq);
    this.unflushed = [];
    if (writes && writes.ended.length > 0) this.row = null;
    for (const { position } of writes?.positions ?? []) {
      assert.ok(position.settled >= (this.row?.settled ?? 0), 'the endpoint goes back');
      this.row = position;
    }
    // What the rows say is settled has been delivered.
    const lagging = this.row;
    for (let seq = 1; seq <= (lagging?.settled ?? this.settled); seq += 1) {
      assert.ok(!this.wanted(seq) || this.attempts.has(seq), `${seq} counts as settled and was never delivered`);
    }
    for (const seq of all(lagging?.ahead ?? [])) assert.ok(!this.wanted(seq) || this.attempts.has(seq), `${seq} is not ahead`);
  }

  crash() {
    this.crashes += 1;
    for (const { job } of this.running) this.endangered.add(job.event.seq);
    for (const seq of this.unflushed) this.endangered.add(seq);
    this.start();
  }

  finish() {
    for (let turn = 0; turn < 1_000; turn += 1) {
      this.hand();
      this.catchUp(10);
      this.answer(turn);
      this.flush();
    }
    assert.equal(this.settled, this.head);
    assert.equal(this.row, null, 'it is live again');
    assert.equal(this.lane.behind, 0);
    for (let seq = 1; seq <= this.head; seq += 1) {
      const times = this.deliveries.get(seq) ?? 0;
      if (!this.wanted(seq)) assert.equal(times, 0);
      else assert.ok(times === 1 || (times > 1 && this.endangered.has(seq)), `${seq} was delivered ${times} times`);
    }
  }
}

suite('lagging', () => {
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.constant((model: Model) => model.hand()) },
    { weight: 6, arbitrary: fc.nat(10).map((pick) => (model: Model) => model.answer(pick)) },
    { weight: 3, arbitrary: fc.integer({ min: 1, max: 12 }).map((limit) => (model: Model) => model.catchUp(limit)) },
    { weight: 3, arbitrary: fc.constant((model: Model) => model.flush()) },
    { weight: 2, arbitrary: fc.boolean().map((drop) => (model: Model) => model.lag(drop)) },
    { weight: 1, arbitrary: fc.constant((model: Model) => model.crash()) },
  );

  test('whatever the order: nothing is lost, positions only grow, and only what was in flight at a crash is repeated', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
        const model = new Model();
        for (const one of steps) one(model);
        model.finish();
      }),
      { numRuns: 500 },
    );
  });

  test('a position is written no later than the lane passes it, and none while the lane waits', () => {
    const model = new Model();
    for (let i = 0; i < 6; i += 1) model.hand();
    model.lag(false);
    assert.equal(model.lane.window.settled, 6);
    model.flush();
    assert.deepEqual(model.row, {
      settled: 0,
      ahead: [
        [3, 3],
        [6, 6],
      ],
    });
  });

  test('a position that says the same is not written again, unless it could not be written', () => {
    const { lane, follower } = new Model();
    const lag = fallBehind(follower, lane, { drop: true });
    lane.window.pass(9);
    const first = takeWrites(lane, 9)!;
    assert.deepEqual(
      first.positions.map(({ position }) => position),
      [{ settled: 0, ahead: [] }],
    );
    const read = (seq: number) => {
      lag.read = seq;
      lag.owed.add(seq);
      lane.changed.add(lag);
      return takeWrites(lane, 9);
    };
    assert.equal(read(1), null, 'it is owed now, and the row says so already');
    putBack(lane, first);
    assert.equal(takeWrites(lane, 9)?.positions.length, 1);
  });

  test('a start does not write the rows again that it has read', () => {
    const { follower } = new Model();
    const lane = createLane(0, 1, 9);
    restore(follower, lane, { settled: 3, ahead: [[6, 7]] });
    const lag = fallBehind(follower, lane, { drop: true });
    assert.equal(takeWrites(lane, 9), null);
    lag.read = 4;
    lane.changed.add(lag);
    assert.deepEqual(takeWrites(lane, 9)?.positions[0]?.position, { settled: 4, ahead: [[6, 7]] });
  });
});

suite('book', () => {
  test('the head of an item is its oldest, and the sizes are those of the rows', () => {
    const row = fc.record({ lane: fc.nat(1), endpointId: fc.constantFrom('one', 'two'), itemId: fc.option(fc.nat(2)), seq: fc.nat(20) });
    fc.assert(
      fc.property(fc.array(fc.tuple(row, fc.boolean()), { maxLength: 80 }), (steps) => {
        const book = createBook();
        const rows = new Map<string, (typeof steps)[0][0]>();
        const key = (one: (typeof steps)[0][0]) => JSON.stringify([one.lane, one.endpointId, one.itemId, one.seq]);
        for (const [one, adds] of steps) {
          if (adds) rows.set(key(one), one);
          else rows.delete(key(one));
          if (adds) book.add(one);
          else book.remove(one);
          const same = [...rows.values()].filter((other) => other.endpointId === one.endpointId);
          assert.equal(book.size(one.endpointId), same.length);
          const ofItem = same.filter((other) => other.lane === one.lane && other.itemId === one.itemId).map(({ seq }) => seq);
          if (one.itemId !== null) assert.equal(book.head(one.lane, one.endpointId, one.itemId), ascending(ofItem)[0]);
          assert.equal(
            book.upTo(one.lane, one.endpointId, 10).length,
            same.filter(({ lane, seq }) => lane === one.lane && seq <= 10).length,
          );
        }
        book.forgetLane(0);
        for (const id of ['one', 'two']) {
          assert.equal(book.size(id), [...rows.values()].filter(({ endpointId, lane }) => endpointId === id && lane === 1).length);
        }
      }),
    );
  });
});
