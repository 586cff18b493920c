import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HOUR_MS, MINUTE_MS } from '../base/clock.ts';
import { COUNTED_MAX } from '../delivery/attempts/backlog.ts';
import type { Condition } from '../delivery/attempts/condition.ts';
import { conditionLines } from './webhook-condition.ts';

const NOW = Date.parse('2026-03-02T08:00:00.000Z');
const WELL: Condition = {
  circuit: 'closed',
  answered: false,
  failuresInARow: 0,
  failingSince: null,
  nextProbeAt: null,
  pausedUntil: null,
  lastSuccessAt: NOW,
  lastFailureAt: null,
  backlog: { behind: 0, behindSince: null, retry: 0, waiting: 0, dead: 0 },
};

test('a webhook that is well says little', () => {
  assert.deepEqual(conditionLines(WELL), [
    '  Circuit       closed',
    '  Last success  2026-03-02T08:00:00.000Z',
    '  Deliveries    0 to be tried again, 0 behind them, 0 given up',
  ]);
});

test('one that recovers says since when it had failed', () => {
  const [circuit] = conditionLines({ ...WELL, circuit: 'half_open', answered: true, failingSince: NOW });
  assert.equal(
    circuit,
    '  Circuit       half open: it answers again after failing since 2026-03-02T08:00:00.000Z, and is sent what it missed',
  );
  const [vouchedFor] = conditionLines({ ...WELL, circuit: 'half_open', failingSince: NOW });
  assert.equal(
    vouchedFor,
    '  Circuit       half open: it failed since 2026-03-02T08:00:00.000Z, is taken for well by its owner, and has received nothing yet',
  );
});

test('one that gets nothing says why, until when, and what it has missed', () => {
  const lines = conditionLines({
    circuit: 'open',
    answered: false,
    failuresInARow: 12,
    failingSince: NOW - HOUR_MS,
    nextProbeAt: NOW + MINUTE_MS,
    pausedUntil: NOW + HOUR_MS,
    lastSuccessAt: null,
    lastFailureAt: NOW,
    backlog: { behind: COUNTED_MAX, behindSince: NOW - HOUR_MS, retry: 3, waiting: 4, dead: 5 },
  });
  assert.deepEqual(lines, [
    '  Circuit       open, 12 failures in a row since 2026-03-02T07:00:00.000Z: only probes are sent',
    '  Next probe    2026-03-02T08:01:00.000Z',
    '  Paused until  2026-03-02T09:00:00.000Z, as the receiver asked',
    '  Last success  none',
    '  Last failure  2026-03-02T08:00:00.000Z',
    '  Behind        10000 or more events, since 2026-03-02T07:00:00.000Z',
    '  Deliveries    3 to be tried again, 4 behind them, 5 given up',
  ]);
});
