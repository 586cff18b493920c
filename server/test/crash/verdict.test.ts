/** The judge itself: each fault that it is there for is found, and a clean run has none. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { Receipt } from './receiver.ts';
import { excessOf, faultsOf, judge, repeatsMax, type Told, type Verdict } from './verdict.ts';

const told = (seq: number, itemId = 1): Told => ({ id: `evt_${itemId}_${seq}`, itemId, lane: 0, seq });
const received = (event: Told, fields: Partial<Receipt> = {}): Receipt => ({
  id: event.id,
  accepted: true,
  sequence: event.seq,
  body: `body ${event.id}`,
  ...fields,
});

suite('the judge of receipts', () => {
  const events = [told(1), told(2), told(3), told(4, 2)];
  const clean = events.map((event) => received(event));

  test('finds nothing in a clean run, also when one is repeated', () => {
    const verdict = judge(events, [...clean, received(told(2))], true);
    assert.deepEqual(faultsOf(verdict), []);
    assert.equal(verdict.repeats, 1);
  });

  test('a refused event that is never accepted is lost', () => {
    const verdict = judge(events, [...clean.slice(0, 3), received(told(4, 2), { accepted: false })], true);
    assert.deepEqual(verdict.lost, ['evt_2_4']);
  });

  test('an event sent before an earlier one of its item was accepted is disorder, unless none was promised', () => {
    const receipts = [
      received(told(1), { accepted: false }),
      received(told(2)),
      received(told(1)),
      received(told(3)),
      received(told(4, 2)),
    ];
    assert.equal(judge(events, receipts, true).disordered.length, 1);
    assert.equal(judge(events, receipts, false).disordered.length, 0);
  });

  test('an unknown id, another body and a gap in the sequence are found', () => {
    const strange = [...clean, received(told(9)), received(told(1), { body: 'other' })];
    assert.deepEqual(judge(events, strange, true).invented, ['evt_1_9']);
    assert.deepEqual(judge(events, strange, true).changed, ['evt_1_1']);
    const gap = [clean[0]!, received(told(2), { sequence: 3 }), received(told(3), { sequence: 4 }), clean[3]!];
    assert.equal(judge(events, gap, true).gaps.length, 1);
  });
});

suite('the repeats of a story', () => {
  const SQLITE = { nodes: 1, kills: 200, freezes: 0, databaseCrashes: 0 };
  const POSTGRES = { nodes: 2, kills: 158, freezes: 10, databaseCrashes: 32 };
  /** Of four webhooks, one of which has all the repeats. */
  const verdicts = (repeats: number): Verdict[] => [repeats, 0, 0, 0].map((each) => ({ ...judge([], [], true), repeats: each }));

  test('are no fault where they are what full runs have', () => {
    assert.equal(excessOf(verdicts(9_564), SQLITE), null);
    assert.equal(excessOf(verdicts(3_838), POSTGRES), null);
  });

  test('are one where a third of all deliveries of such a run comes twice', () => {
    assert.match(excessOf(verdicts(63_910), SQLITE)!, /63910 deliveries were repeated, and at most 52800 can have been in flight/);
    assert.notEqual(excessOf(verdicts(69_424), POSTGRES), null);
  });

  test('are bounded to the last one, grow with the troubles, and need one', () => {
    const most = repeatsMax(SQLITE, 4);
    assert.equal(excessOf(verdicts(most), SQLITE), null);
    assert.notEqual(excessOf(verdicts(most + 1), SQLITE), null);
    assert.notEqual(excessOf(verdicts(most), { ...SQLITE, kills: 199 }), null);
    assert.notEqual(excessOf(verdicts(1), { ...SQLITE, kills: 0 }), null);
  });

  test('of a short run may be all that one end can leave', () => {
    const one = { ...SQLITE, kills: 1 };
    assert.equal(excessOf(verdicts(2_064), one), null);
    assert.notEqual(excessOf(verdicts(2_065), one), null);
  });
});
