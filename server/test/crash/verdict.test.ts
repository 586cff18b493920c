/** The judge itself: each fault that it is there for is found, and a clean run has none. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { Receipt } from './receiver.ts';
import { faultsOf, judge, type Told } from './verdict.ts';

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
