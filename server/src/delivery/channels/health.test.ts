import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS } from '../../base/clock.ts';
import {
  type Answer,
  adopt,
  claimProbe,
  DISABLE_AFTER_MS,
  differs,
  FAILURES_TO_OPEN,
  forgetCount,
  HEALTHY,
  type Health,
  observe,
  PROBE_CLAIM_MS,
  PROBE_INTERVAL_MAX_MS,
  probeIntervalMs,
  recover,
  standing,
  type Transition,
} from './health.ts';

const START = 1_700_000_000_000;
const FAILURE: Answer = { kind: 'failure' };
const SUCCESS: Answer = { kind: 'success' };
const kinds = (raised: readonly Transition[]) => raised.map(({ kind }) => kind);

/** An endpoint whose answers are given one after another, at times that only the test moves. */
function follow(health: Health = HEALTHY) {
  let now = START;
  const raised: Transition[] = [];
  let costs = 0;
  const answer = (given: Answer, probe = false) => {
    const observed = observe(health, given, probe, now);
    health = observed.health;
    raised.push(...observed.raised);
    if (observed.costsAttempt) costs += 1;
    return observed;
  };
  return {
    answer,
    raised,
    costs: () => costs,
    health: () => health,
    now: () => now,
    wait(ms: number) {
      now += ms;
    },
    fail(count: number) {
      for (let index = 0; index < count; index += 1) answer(FAILURE);
    },
    /** Waits for the next probe, and fails it; answers how long it was. */
    failProbe(lateMs = 0): number {
      const { circuit } = health;
      assert.equal(circuit.state, 'open');
      const waitedMs = circuit.state === 'open' ? Math.max(0, circuit.nextProbeAt - now) : 0;
      now += waitedMs + lateMs;
      const claimed = claimProbe(health, now);
      assert.ok(claimed);
      health = claimed;
      answer(FAILURE, true);
      return waitedMs;
    },
  };
}

suite('the circuit', () => {
  test('ten failures in a row open it; a success between begins the count again', () => {
    const endpoint = follow();
    endpoint.fail(FAILURES_TO_OPEN - 1);
    endpoint.answer(SUCCESS);
    endpoint.fail(FAILURES_TO_OPEN - 1);
    assert.equal(endpoint.health().circuit.state, 'closed');
    assert.deepEqual(endpoint.raised, []);
    endpoint.fail(1);
    assert.equal(endpoint.health().circuit.state, 'open');
    assert.deepEqual(endpoint.raised, [{ kind: 'failing', since: START, failures: 10 }]);
  });

  test('probes come after 30 s, and then ever more seldom, to one in 15 minutes; they cost no attempt', () => {
    const endpoint = follow();
    endpoint.fail(FAILURES_TO_OPEN);
    const waits = Array.from({ length: 7 }, () => endpoint.failProbe());
    assert.deepEqual(
      waits,
      [30, 60, 120, 240, 480, 900, 900].map((seconds) => seconds * SECOND_MS),
    );
    assert.equal(endpoint.costs(), FAILURES_TO_OPEN);
    assert.deepEqual(kinds(endpoint.raised), ['failing'], 'the same outage is reported once');
  });

  test('a probe belongs to one node until it has answered, or a minute has gone', () => {
    const endpoint = follow();
    endpoint.fail(FAILURES_TO_OPEN);
    assert.equal(claimProbe(endpoint.health(), START + 30 * SECOND_MS - 1), null);
    const claimed = claimProbe(endpoint.health(), START + 30 * SECOND_MS);
    assert.ok(claimed && differs(endpoint.health(), claimed));
    assert.equal(claimProbe(claimed, START + 30 * SECOND_MS + PROBE_CLAIM_MS - 1), null);
    assert.ok(claimProbe(claimed, START + 30 * SECOND_MS + PROBE_CLAIM_MS), 'its node may have died');
    assert.equal(claimProbe(HEALTHY, START), null);
  });

  test('the first success half-opens, three failures in a row open again, the end of the drain closes', () => {
    const endpoint = follow();
    endpoint.fail(FAILURES_TO_OPEN);
    endpoint.failProbe();
    endpoint.answer(SUCCESS, true);
    assert.deepEqual(standing(endpoint.health(), endpoint.now()), { kind: 'recovering' });
    endpoint.fail(2);
    endpoint.answer(SUCCESS);
    endpoint.fail(2);
    assert.equal(endpoint.health().circuit.state, 'half_open');
    endpoint.fail(1);
    assert.equal(endpoint.health().circuit.state, 'open');
    assert.equal(endpoint.failProbe(), 30 * SECOND_MS, 'it had answered: probes begin anew');
    endpoint.answer(SUCCESS, true);
    const recovered = recover(endpoint.health());
    assert.deepEqual(recovered.health.circuit, { state: 'closed', failing: null });
    assert.deepEqual(kinds([...endpoint.raised, ...recovered.raised]), ['failing', 'recovering', 'recovering', 'recovered']);
    assert.deepEqual(recover(recovered.health), { health: recovered.health, raised: [] });
  });

  test('one that only its owner vouches for has not recovered before it answers', () => {
    const vouchedFor: Health = { ...HEALTHY, circuit: { state: 'half_open', since: START, failures: 0, answered: false } };
    assert.deepEqual(recover(vouchedFor), { health: vouchedFor, raised: [] });
    const failed = observe(vouchedFor, FAILURE, false, START + HOUR_MS).health;
    assert.deepEqual(recover(failed).raised, []);
    const { health, raised } = observe(failed, SUCCESS, false, START + HOUR_MS);
    assert.ok(differs(failed, health), 'other nodes learn of it');
    assert.deepEqual(adopt(health, failed).circuit, { ...failed.circuit, answered: true });
    assert.deepEqual([raised, recover(health).raised], [[], [{ kind: 'recovered', since: START }]]);
  });

  test('what was under way when it opened counts as attempts, and neither as probes nor as news', () => {
    const endpoint = follow();
    endpoint.fail(FAILURES_TO_OPEN);
    const before = endpoint.health();
    endpoint.fail(16);
    assert.equal(differs(before, endpoint.health()), false);
    assert.equal(endpoint.costs(), FAILURES_TO_OPEN + 16);
    assert.deepEqual(kinds(endpoint.raised), ['failing']);
  });
});

suite('pauses', () => {
  test('a pause holds until its end, costs no attempt and is no failure', () => {
    const endpoint = follow();
    endpoint.fail(3);
    endpoint.answer({ kind: 'throttled', retryAfterMs: MINUTE_MS });
    assert.equal(endpoint.costs(), 3);
    assert.deepEqual(standing(endpoint.health(), START), { kind: 'paused', until: START + MINUTE_MS, live: false });
    assert.deepEqual(standing(endpoint.health(), START + MINUTE_MS), { kind: 'clear' });
    assert.deepEqual(endpoint.health().circuit, { state: 'closed', failing: { failures: 3, since: START } });
  });

  test('up to five seconds it stays live', () => {
    const live = (retryAfterMs: number) => {
      const at = standing(observe(HEALTHY, { kind: 'throttled', retryAfterMs }, false, START).health, START);
      return at.kind === 'paused' && at.live;
    };
    assert.equal(live(5_000), true);
    assert.equal(live(5_001), false);
  });

  test('many answers of one moment are one pause; the longest holds, and a late success does not end it', () => {
    const endpoint = follow();
    const first = endpoint.answer({ kind: 'throttled', retryAfterMs: 10 * SECOND_MS });
    for (const retryAfterMs of [10_000, 10_900, 2_000]) {
      endpoint.wait(5);
      const again = endpoint.answer({ kind: 'throttled', retryAfterMs });
      assert.equal(differs(first.health, again.health), false);
      assert.deepEqual(again.raised, []);
    }
    assert.deepEqual(kinds(endpoint.answer({ kind: 'throttled', retryAfterMs: HOUR_MS }).raised), ['paused']);
    endpoint.answer(SUCCESS);
    assert.equal(standing(endpoint.health(), endpoint.now()).kind, 'paused');
    endpoint.wait(HOUR_MS);
    endpoint.answer(SUCCESS);
    assert.equal(endpoint.health().pause, null);
  });

  test('after a day of pauses without a success they count as failures', () => {
    const endpoint = follow();
    const throttled: Answer = { kind: 'throttled', retryAfterMs: HOUR_MS };
    for (let hour = 0; hour < 24; hour += 1) {
      endpoint.answer(throttled);
      endpoint.wait(HOUR_MS);
    }
    assert.equal(endpoint.costs(), 0);
    assert.equal(endpoint.answer(throttled).costsAttempt, true);
    assert.equal(endpoint.answer(SUCCESS).health.pause, null);
    assert.equal(endpoint.answer(throttled).costsAttempt, false, 'a success begins the day again');
  });

  test('idle for days before, the first pause is still a pause', () => {
    const endpoint = follow();
    endpoint.answer(SUCCESS);
    endpoint.wait(10 * DAY_MS);
    assert.equal(endpoint.answer({ kind: 'throttled', retryAfterMs: HOUR_MS }).costsAttempt, false);
  });

  test('a probe that is answered with a pause waits for its end', () => {
    const endpoint = follow();
    endpoint.fail(FAILURES_TO_OPEN);
    endpoint.wait(30 * SECOND_MS);
    endpoint.answer({ kind: 'throttled', retryAfterMs: HOUR_MS }, true);
    assert.equal(claimProbe(endpoint.health(), endpoint.now() + HOUR_MS - 1), null);
    assert.ok(claimProbe(endpoint.health(), endpoint.now() + HOUR_MS));
  });
});

suite('disabling', () => {
  test('410 disables at once', () => {
    assert.deepEqual(kinds(observe(HEALTHY, { kind: 'gone' }, false, START).raised), ['disabled']);
    const endpoint = follow();
    endpoint.fail(FAILURES_TO_OPEN);
    assert.equal(endpoint.answer({ kind: 'gone' }, true).costsAttempt, false);
  });

  test('five days of failed probes disable, and not a probe less', () => {
    const endpoint = follow();
    endpoint.fail(FAILURES_TO_OPEN);
    let probes = 0;
    while (!kinds(endpoint.raised).includes('disabled')) {
      endpoint.failProbe();
      probes += 1;
    }
    const afterMs = endpoint.now() - START;
    assert.ok(afterMs >= DISABLE_AFTER_MS && afterMs < DISABLE_AFTER_MS + PROBE_INTERVAL_MAX_MS);
    assert.ok(probes > 400);
    assert.deepEqual(endpoint.raised.at(-1), { kind: 'disabled', reason: 'failing', since: START });
  });

  test('twenty probes, six hours apart, are just enough', () => {
    const endpoint = follow();
    endpoint.fail(FAILURES_TO_OPEN);
    for (let probe = 1; probe <= 20; probe += 1) {
      assert.equal(kinds(endpoint.raised).includes('disabled'), false);
      endpoint.wait(6 * HOUR_MS);
      endpoint.failProbe();
    }
    assert.deepEqual(kinds(endpoint.raised), ['failing', 'disabled']);
  });

  test('neither a jump of the clock nor days without events disable', () => {
    const endpoint = follow();
    endpoint.fail(FAILURES_TO_OPEN);
    for (let hour = 0; hour < 24; hour += 1) endpoint.failProbe(HOUR_MS);
    endpoint.wait(30 * DAY_MS);
    endpoint.failProbe();
    for (let probe = 0; probe < 30; probe += 1) endpoint.failProbe();
    assert.deepEqual(kinds(endpoint.raised), ['failing']);
  });

  test('a success breaks the run', () => {
    const endpoint = follow();
    endpoint.fail(FAILURES_TO_OPEN);
    while (endpoint.now() < START + 4.9 * DAY_MS) endpoint.failProbe();
    endpoint.answer(SUCCESS, true);
    endpoint.fail(3);
    while (endpoint.now() < START + 9.8 * DAY_MS) endpoint.failProbe();
    assert.equal(kinds(endpoint.raised).includes('disabled'), false);
  });
});

const answers: fc.Arbitrary<Answer> = fc.oneof(
  fc.constant(SUCCESS),
  { arbitrary: fc.constant(FAILURE), weight: 6 },
  fc.record({ kind: fc.constant('throttled' as const), retryAfterMs: fc.integer({ min: 1, max: 6 * HOUR_MS }) }),
);
const steps = fc.array(fc.record({ answer: answers, probe: fc.boolean(), waitMs: fc.integer({ min: -DAY_MS, max: DAY_MS }) }), {
  maxLength: 300,
});

suite('whatever is answered, whenever', () => {
  test('news come in their order: failing, then recovering and recovered, and never disabled without the evidence', () => {
    fc.assert(
      fc.property(steps, (given) => {
        const endpoint = follow();
        let failing = false;
        let probes = 0;
        for (const { answer, probe, waitMs } of given) {
          endpoint.wait(waitMs);
          if (probe && endpoint.health().circuit.state === 'open') probes += 1;
          if (answer.kind === 'success') probes = 0;
          for (const { kind } of endpoint.answer(answer, probe).raised) {
            if (kind === 'failing') {
              assert.equal(failing, false);
              failing = true;
            }
            if (kind === 'recovering') assert.equal(failing, true);
            if (kind === 'disabled') assert.ok(probes >= 20);
          }
          if (endpoint.health().circuit.state === 'half_open' && waitMs > 0) {
            const recovered = recover(endpoint.health());
            assert.deepEqual(kinds(recovered.raised), ['recovered']);
          }
          const { circuit } = endpoint.health();
          assert.equal(circuit.state === 'closed', !failing);
          if (circuit.state === 'open') assert.ok(circuit.probeHours <= circuit.probes);
        }
      }),
    );
  });

  test('a node that takes over the row of another keeps what only it has counted', () => {
    const own = follow();
    own.fail(4);
    const other = observe(HEALTHY, { kind: 'throttled', retryAfterMs: MINUTE_MS }, false, START).health;
    const adopted = adopt(other, own.health());
    assert.deepEqual(adopted.circuit, own.health().circuit);
    assert.deepEqual(adopted.pause, other.pause);
    const opened = follow();
    opened.fail(FAILURES_TO_OPEN);
    assert.deepEqual(adopt(opened.health(), own.health()), opened.health());
    assert.deepEqual(adopt(HEALTHY, opened.health()), HEALTHY);
    assert.deepEqual(forgetCount(adopted), other);
    assert.deepEqual(forgetCount(opened.health()), opened.health());
  });

  test('intervals grow to their limit', () => {
    fc.assert(
      fc.property(fc.nat(2_000), (probes) => {
        assert.ok(probeIntervalMs(probes) <= probeIntervalMs(probes + 1) && probeIntervalMs(probes + 1) <= PROBE_INTERVAL_MAX_MS);
      }),
    );
  });
});
