/** The circuit of a bank. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MINUTE_MS } from '../../base/clock.ts';
import { ITEMS_MIN, opened, opens, probeFailed, WINDOW_MS } from './circuit.ts';
import { decideAsking, decideAtDue } from './decide.ts';
import { KNOWN, MONDAY } from './testing.ts';

test('a bank is left in peace when most of at least five items fail within half an hour', () => {
  const outcomes = (failed: number, fine: number, at = MONDAY) => [
    ...Array.from({ length: failed }, () => ({ at, failed: true })),
    ...Array.from({ length: fine }, () => ({ at, failed: false })),
  ];
  assert.equal(opens(outcomes(ITEMS_MIN - 1, 0), MONDAY), false);
  assert.equal(opens(outcomes(ITEMS_MIN, 0), MONDAY), true);
  assert.equal(opens(outcomes(3, 3), MONDAY), false);
  assert.equal(opens(outcomes(4, 3), MONDAY), true);
  assert.equal(opens(outcomes(9, 0), MONDAY + WINDOW_MS), false);
});

test('a suspended bank is asked by one item after 15 minutes, an hour, then every four; the others show 1007 once', () => {
  let circuit = opened(MONDAY);
  const waits: number[] = [];
  let now = MONDAY;
  for (let probe = 0; probe < 4; probe += 1) {
    waits.push((circuit.probeAt - now) / MINUTE_MS);
    now = circuit.probeAt;
    circuit = probeFailed({ ...circuit, probeItemId: 7 }, now);
  }
  assert.deepEqual(waits, [15, 60, 240, 240]);
  const known = { ...KNOWN, circuit, now };
  const first = decideAtDue(known, 0);
  assert.ok(first.kind === 'become' && first.status === 1007 && first.until! > circuit.probeAt);
  assert.equal(decideAtDue(known, 1007).kind, 'postpone');
  assert.equal(decideAtDue({ ...known, now: circuit.probeAt }, 1007).kind, 'probe');
  assert.equal(decideAsking(known, 'request', [], null).kind, 'spare');
  assert.equal(decideAsking(known, 'user', [], null).kind, 'ask');
  assert.equal(decideAsking({ ...known, circuit: { ...circuit, probeItemId: 7 } }, 'scheduler', [], null).kind, 'ask');
});
