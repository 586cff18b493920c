import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { TEST_EVENT_TIMESTAMP } from '../../events/catalogue.ts';
import type { LoggedEvent } from '../../events/log.ts';
import type { Job } from '../job.ts';
import { createLane } from '../lanes/lane.ts';
import { createQueue } from './queue.ts';

const lane = createLane(0, 1, 0);
const event = (seq: number, itemId: number): LoggedEvent => ({
  ...{ id: `evt_${seq}`, segment: 1, lane: 0, seq, applicationId: 'app', type: 'item.created', userUuid: null, itemId },
  ...{ accountId: null, refreshId: null, endpointId: null, content: '{}', timestamp: TEST_EVENT_TIMESTAMP, committedAt: 0 },
  ...{ sequences: null, traceparent: null, aboutEndpointId: null, erased: false },
});
const job = (seq: number, itemId: number, parked: boolean): Job => {
  return { lane, event: event(seq, itemId), source: 'live', attempts: 0, sent: 0, parked, lag: null, queuedAt: seq };
};

/** A receiver that fails by turns, and the parked rows of its items, as a plain list for each: what the queue may not break. */
class Model {
  readonly parked = new Map<number, number[]>();
  readonly running: { job: Job; finished: () => void }[] = [];
  readonly delivered: number[] = [];
  readonly itemOf = new Map<number, number>();
  /** Parked and given to the queue again. */
  readonly retried = new Set<number>();
  failing = false;
  readonly queue;

  constructor(concurrency: number, keepsHeld: boolean) {
    this.queue = createQueue({
      total: { queued: 0 },
      concurrency: () => concurrency,
      ordered: () => true,
      maySend: () => true,
      admit: ({ event: { seq, itemId }, parked }) => {
        const [head] = this.parked.get(itemId!) ?? [];
        if (head === undefined || (parked && head === seq)) return 'start';
        return !parked && this.failing ? 'hold' : 'refuse';
      },
      held: (held) => {
        if (held.parked) this.retried.delete(held.event.seq);
        else this.park(held);
      },
      stalled: () => {
        if (!keepsHeld) this.queue.yieldHeld();
      },
      start: (one, finished) => {
        assert.ok(!this.running.some((other) => other.job.event.itemId === one.event.itemId), 'two of an item at once');
        this.running.push({ job: one, finished });
      },
    });
  }

  push(seq: number, itemId: number) {
    this.itemOf.set(seq, itemId);
    this.queue.push(job(seq, itemId, false));
  }

  park({ event: { seq, itemId } }: Job) {
    const parked = this.parked.get(itemId!) ?? [];
    assert.ok((parked.at(-1) ?? 0) < seq, `${seq} was parked after ${parked.at(-1)}`);
    this.parked.set(itemId!, [...parked, seq]);
  }

  end(index: number, ok: boolean) {
    const [{ job: one, finished }] = this.running.splice(index % this.running.length, 1) as [{ job: Job; finished: () => void }];
    const { seq, itemId } = one.event;
    this.failing = !ok;
    if (one.parked) {
      this.retried.delete(seq);
      if (ok) this.parked.set(itemId!, this.parked.get(itemId!)!.slice(1));
    } else if (!ok) this.park(one);
    if (ok) this.delivered.push(seq);
    finished();
  }

  retry() {
    for (const [itemId, [head]] of this.parked) {
      if (head === undefined || this.retried.has(head)) continue;
      this.retried.add(head);
      this.queue.push(job(head, itemId, true));
    }
  }
}

suite('what waits behind a failed one of its item', () => {
  test('is held, keeps its order and is never lost, whatever fails and ends first', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(3), { minLength: 1, maxLength: 60 }),
        fc.integer({ min: 1, max: 4 }),
        fc.boolean(),
        fc.infiniteStream(fc.nat()),
        (items, concurrency, keepsHeld, picks) => {
          const pick = () => picks.next().value!;
          const model = new Model(concurrency, keepsHeld);
          items.forEach((itemId, index) => {
            model.push(index + 1, itemId);
            const dice = pick() % 8;
            if (dice < 4 && model.running.length > 0) model.end(pick(), dice === 0);
            else if (dice === 4) model.retry();
            else if (dice === 5) model.queue.kick();
          });
          while (model.delivered.length < items.length) {
            model.retry();
            model.queue.kick();
            assert.ok(model.running.length > 0, 'nothing is under way, and not all was delivered');
            model.end(pick(), true);
          }
          assert.equal(model.queue.size + model.queue.live + model.queue.underWay, 0);
          for (const [itemId, seqs] of Map.groupBy(model.delivered, (seq) => model.itemOf.get(seq)!)) {
            assert.deepEqual(
              seqs,
              [...seqs].sort((a, b) => a - b),
              `item ${itemId}`,
            );
          }
        },
      ),
    );
  });

  test('is taken out with all else that waits', () => {
    const model = new Model(1, true);
    for (const seq of [1, 2, 3]) model.push(seq, 7);
    model.end(0, false);
    assert.equal(model.queue.size, 2);
    assert.deepEqual(
      [...model.queue.jobs()].map(({ event: { seq } }) => seq),
      [2, 3],
    );
    assert.equal(model.queue.take(() => true).length, 2);
    assert.equal(model.queue.size + model.queue.live, 0);
    model.push(4, 7);
    assert.deepEqual(model.running, [], 'its item still waits');
  });
});
