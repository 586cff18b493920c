import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { createPace, type PaceAnswer, RAMP_START_PER_S, RAMP_STEP_MS, shareOfConcurrency, shareOfRate } from './pace.ts';

const settings = (concurrencyMax = 16, ratePerS: number | null = null, lanesOwned = 64) => ({ concurrencyMax, ratePerS, lanesOwned });

/** A receiver that takes `latencyMs(under way)` per request and gives its n-th `answer`, success when absent; answers when each request was begun. */
function simulate(
  pace: ReturnType<typeof createPace>,
  options: { fromMs?: number; untilMs: number; latencyMs: (underWay: number) => number; answer?: (n: number) => PaceAnswer },
) {
  const begun: number[] = [];
  const ends: { at: number; startedAt: number }[] = [];
  let now = options.fromMs ?? 0;
  let most = 0;
  let answered = 0;
  while (now < options.untilMs) {
    while (ends.length > 0 && ends[0]!.at <= now) {
      const { startedAt } = ends.shift()!;
      pace.finished(options.answer?.(answered) ?? 'success', now - startedAt, ends.length + 1, now);
      answered += 1;
    }
    while (pace.mayStart(ends.length, now)) {
      pace.started(now);
      begun.push(now);
      ends.push({ at: now + options.latencyMs(ends.length + 1), startedAt: now });
      ends.sort((a, b) => a.at - b.at);
      most = Math.max(most, ends.length);
    }
    const nextStartAt = pace.nextStartAt(now);
    now = Math.min(ends[0]?.at ?? Number.POSITIVE_INFINITY, nextStartAt > now ? nextStartAt : Number.POSITIVE_INFINITY, options.untilMs);
  }
  return { begun, most };
}

suite('requests at once', () => {
  test('a healthy receiver is given its maximum, however fast or slow it is by nature', () => {
    for (const latencyMs of [1, 40, 2_000]) {
      const pace = createPace(settings(32));
      simulate(pace, { untilMs: 100_000, latencyMs: () => latencyMs });
      assert.equal(pace.concurrency, 32);
    }
  });

  test('a receiver that does one thing after another is not piled up on', () => {
    const pace = createPace(settings(64));
    simulate(pace, { untilMs: 2_000, latencyMs: () => 50 });
    simulate(pace, { fromMs: 2_000, untilMs: 62_000, latencyMs: (underWay) => 50 * underWay });
    assert.ok(pace.concurrency < 16, `${pace.concurrency}`);
  });

  test('failures and 429 bring it down to one, successes back up', () => {
    for (const answer of ['failure', 'throttled'] as const) {
      const pace = createPace(settings(16));
      for (let index = 0; index < 100; index += 1) pace.finished(answer, 5, pace.concurrency, index);
      assert.equal(pace.concurrency, 1);
      simulate(pace, { fromMs: 100, untilMs: 5_000, latencyMs: () => 5 });
      assert.equal(pace.concurrency, 16);
    }
  });

  test('what was under way together is one reason to slow down, not sixteen', () => {
    const pace = createPace(settings(16));
    for (let index = 0; index < 8; index += 1) pace.finished('failure', 5, 16 - index, 0);
    assert.equal(pace.concurrency, 11);
  });

  test('it stays between one and the share of the node', () => {
    const answers = fc.array(
      fc.record({
        answer: fc.constantFrom<PaceAnswer>('success', 'failure', 'throttled'),
        latencyMs: fc.nat(30_000),
        waitMs: fc.nat(5_000),
      }),
      { maxLength: 200 },
    );
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 256 }), fc.nat(64), answers, (concurrencyMax, lanesOwned, given) => {
        const pace = createPace(settings(concurrencyMax, null, lanesOwned));
        let now = 0;
        for (const { answer, latencyMs, waitMs } of given) {
          now += waitMs;
          pace.finished(answer, latencyMs, pace.concurrency, now);
          assert.ok(pace.concurrency >= 1 && pace.concurrency <= shareOfConcurrency(settings(concurrencyMax, null, lanesOwned)));
          assert.equal(pace.mayStart(pace.concurrency, now), false);
        }
      }),
    );
  });

  test('shares of all nodes make at most the whole, but for the one request that each may have', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 256 }), fc.integer({ min: 1, max: 64 }), (concurrencyMax, nodes) => {
        const owned = Array.from({ length: nodes }, (_, index) => Math.floor(64 / nodes) + (index < 64 % nodes ? 1 : 0));
        const sum = owned.reduce((total, lanesOwned) => total + shareOfConcurrency(settings(concurrencyMax, null, lanesOwned)), 0);
        assert.ok(sum <= Math.max(concurrencyMax, concurrencyMax + nodes));
        const rate = owned.reduce((total, lanesOwned) => total + shareOfRate(settings(1, 100, lanesOwned)), 0);
        assert.ok(Math.abs(rate - 100) < 1e-6);
      }),
    );
  });

  test('lanes that come are used at once by an endpoint that was held back by nothing else', () => {
    const pace = createPace(settings(16, null, 32));
    assert.equal(pace.concurrency, 8);
    pace.configure(settings(16, null, 64), 0);
    assert.equal(pace.concurrency, 16);
    pace.configure(settings(16, null, 16), 0);
    assert.equal(pace.concurrency, 4);
  });
});

suite('the rate limit', () => {
  test('is never exceeded in any window of time, and is reached', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0.5, max: 2_000, noNaN: true }),
        fc.integer({ min: 1, max: 64 }),
        fc.boolean(),
        (ratePerS, lanesOwned, ramped) => {
          const pace = createPace(settings(256, ratePerS, lanesOwned));
          if (ramped) pace.beginRamp(0);
          const untilMs = 3_000;
          const { begun } = simulate(pace, { untilMs, latencyMs: () => 1 });
          const perS = (ratePerS * lanesOwned) / 64;
          for (let first = 0; first < begun.length; first += 7) {
            for (let last = first; last < begun.length; last += 11) {
              const allowed = (perS * (begun[last]! - begun[first]!)) / 1_000 + Math.max(1, perS * 0.02);
              assert.ok(last - first + 1 <= allowed + 1 + 1e-6);
            }
          }
          if (!ramped) assert.ok(begun.length >= (perS * untilMs) / 1_000 - 1.001);
        },
      ),
      { numRuns: 30 },
    );
  });

  test('a change of it holds from then on', () => {
    const pace = createPace(settings(16, 1_000));
    simulate(pace, { untilMs: 1_000, latencyMs: () => 1 });
    pace.configure(settings(16, 10), 1_000);
    const { begun } = simulate(pace, { fromMs: 1_000, untilMs: 3_000, latencyMs: () => 1 });
    assert.ok(begun.length >= 20 && begun.length <= 22, `${begun.length}`);
  });
});

suite('the ramp after an outage', () => {
  test('starts with few, doubles with each step, and ends', () => {
    const pace = createPace(settings(64));
    pace.beginRamp(0);
    const { begun } = simulate(pace, { untilMs: 12_000, latencyMs: () => 2 });
    const inStep = (step: number) => begun.filter((at) => at >= step * RAMP_STEP_MS && at < (step + 1) * RAMP_STEP_MS).length;
    const first = (RAMP_START_PER_S * RAMP_STEP_MS) / 1_000;
    assert.ok(inStep(0) <= first + 1);
    for (const step of [1, 2, 3, 4, 5]) {
      const allowed = first * 2 ** step;
      assert.ok(inStep(step) > allowed * 0.8 && inStep(step) < allowed * 1.2, `step ${step}: ${inStep(step)}`);
    }
    assert.equal(pace.ramping, false);
    assert.equal(pace.concurrency, 64);
  });

  test('ends also for a receiver that fails one request in twenty, and holds back one that fails most or asks for less', () => {
    const rateAfter = (answer: (n: number) => PaceAnswer) => {
      const pace = createPace(settings(64));
      pace.beginRamp(0);
      simulate(pace, { untilMs: 12_000, latencyMs: () => 2, answer });
      return pace.ratePerS;
    };
    assert.equal(
      rateAfter((n) => (n % 20 === 7 ? 'failure' : 'success')),
      Number.POSITIVE_INFINITY,
    );
    assert.equal(
      rateAfter((n) => (n % 3 === 0 ? 'success' : 'failure')),
      RAMP_START_PER_S,
    );
    assert.equal(
      rateAfter((n) => (n % 20 === 7 ? 'throttled' : 'success')),
      RAMP_START_PER_S,
    );
  });

  test('is not cut short by lanes that come', () => {
    const pace = createPace(settings(16, null, 1));
    pace.beginRamp(0);
    pace.configure(settings(16, null, 64), 0);
    assert.deepEqual([pace.concurrency, pace.ratePerS], [1, RAMP_START_PER_S]);
  });

  test('does not grow without a success, and falls back on failures', () => {
    const pace = createPace(settings(16));
    pace.beginRamp(0);
    assert.equal(pace.mayStart(0, 5_000), true);
    assert.equal(pace.ratePerS, RAMP_START_PER_S);
    for (let second = 5; second < 9; second += 1) pace.finished('success', 1, 1, second * 1_000 + 1);
    pace.mayStart(0, 9_002);
    const before = pace.ratePerS;
    assert.ok(before > RAMP_START_PER_S);
    pace.finished('failure', 1, 1, 9_003);
    pace.mayStart(0, 10_100);
    assert.ok(pace.ratePerS < before);
  });
});
