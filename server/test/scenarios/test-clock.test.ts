/** The test clock walks: each refresh at its own moment, everything due on the way in its order, and nothing twice. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../../src/base/clock.ts';
import { DEFAULT_ACCESS, DEFAULT_BANDS } from '../../src/connectors/access.ts';
import { demoBank } from '../../src/connectors/sandbox/demo-bank.ts';
import { nextSlot } from '../../src/refresh/schedule/slots.ts';
import { ADVANCE_MAX_MS, advanceClock, readClock } from '../../src/refresh/test-clock/test-clock.ts';
import { startRefreshWorker } from '../../src/refresh/worker.ts';
import { sql } from '../../src/storage/sql.ts';
import { eachEngine } from '../support/engines.ts';
import { APPLICATION, createWorld, START, type World } from '../support/world.ts';

const DEMO = 574;
const login = (USER: string) => ({ USER, PWD: 'any' });
const signal = new AbortController().signal;
const RULES = { ...DEFAULT_ACCESS, bands: DEFAULT_BANDS };
/** The promise is 5 s on a machine that does nothing else; here it is processor time, and other tests run beside this one. */
const YEAR_CPU_LIMIT_MS = 10_000;

type Ended = { cause: string; finished_at: number; started_at: number; item_id: number };
const refreshesOf = ({ services }: World) =>
  services.storage.all<Ended>(
    sql`select cause, finished_at, started_at, item_id from refreshes where finished_at is not null order by finished_at`,
  );
const statusOf = async ({ services }: World, itemId: number) =>
  (await services.storage.first<{ status: number }>(sql`select status from items where id = ${itemId}`))!.status;
/** The first four hours belong to the connection itself. */
function slotsBetween(itemId: number, from: number, to: number): number {
  let count = 0;
  for (let at = nextSlot(itemId, RULES, from + DEFAULT_ACCESS.minGapMs); at !== null && at <= to; at = nextSlot(itemId, RULES, at + 1))
    count += 1;
  return count;
}
const advance = (world: World, byMs: number) => advanceClock(world.services, APPLICATION, { byMs }, { signal });

eachEngine('the test clock', (open, engine) => {
  const world = async (t: Parameters<typeof open>[0]) => createWorld(await open(t), [demoBank()]);

  test('a fortnight at once: two refreshes a day, each at its own moment within the bands, events in their order', async (t) => {
    const here = await world(t);
    const itemId = await here.connect(DEMO, login('success'));
    const before = (await here.events()).length;
    const moved = await advance(here, 14 * DAY_MS);
    assert.ok(moved.ok);
    assert.equal(moved.now - moved.from, 14 * DAY_MS);
    const scheduled = (await refreshesOf(here)).filter(({ cause }) => cause === 'scheduler');
    assert.equal(scheduled.length, slotsBetween(itemId, moved.from, moved.now));
    assert.equal(moved.refreshes, scheduled.length);
    for (const { finished_at } of scheduled) {
      const minute = (finished_at % DAY_MS) / MINUTE_MS;
      assert.ok(
        DEFAULT_BANDS.some(({ fromMinute, toMinute }) => minute >= fromMinute && minute < toMinute),
        new Date(finished_at).toISOString(),
      );
    }
    const events = (await here.events()).slice(before);
    assert.equal(moved.events, events.length);
    const refreshed = events.filter(({ type }) => type === 'item.refreshed').map(({ timestamp }) => timestamp);
    assert.equal(refreshed.length, scheduled.length);
    assert.ok(refreshed.every((at, index) => at >= scheduled[index]!.started_at && at - scheduled[index]!.started_at < MINUTE_MS));
  });

  test('items of one application pass their moments in the order of time', async (t) => {
    const here = await world(t);
    const items = [];
    for (const name of ['success', 'anything', 'else']) items.push(await here.connect(DEMO, login(name)));
    const moved = await advance(here, 3 * DAY_MS);
    assert.ok(moved.ok);
    const scheduled = (await here.services.storage.all<Ended & { n: number }>(sql`
      select refreshes.item_id, refreshes.started_at, min(events.seq) as seq, min(events.timestamp) as finished_at, 'scheduler' as cause
      from refreshes join events on events.refresh_id = refreshes.id where refreshes.cause = 'scheduler'
      group by refreshes.id, refreshes.item_id, refreshes.started_at order by min(events.timestamp)`)) as Ended[];
    assert.equal(
      scheduled.length,
      items.reduce((sum, itemId) => sum + slotsBetween(itemId, moved.from, moved.now), 0),
    );
    const begun = scheduled.map(({ started_at }) => started_at);
    assert.deepEqual(
      begun,
      [...begun].sort((a, b) => a - b),
    );
    assert.equal(new Set(scheduled.map(({ item_id }) => item_id)).size, 3);
  });

  test('a moment is reached exactly; backward, nowhere and too far are refused, and nothing has happened', async (t) => {
    const here = await world(t);
    const to = Date.UTC(2026, 11, 24, 8);
    assert.deepEqual(await advanceClock(here.services, APPLICATION, { to }, { signal }), {
      ok: true,
      from: START,
      now: to,
      refreshes: 0,
      events: 0,
    });
    const refusals = [
      await advanceClock(here.services, APPLICATION, { to }, { signal }),
      await advanceClock(here.services, APPLICATION, { to: START }, { signal }),
      await advance(here, 0),
      await advance(here, Number.NaN),
      await advance(here, ADVANCE_MAX_MS + 1),
      await advanceClock(here.services, 'app_of_nobody', { to }, { signal }),
    ];
    assert.deepEqual(
      refusals.map((outcome) => (outcome.ok ? 'ok' : outcome.refusal)),
      ['backward', 'backward', 'backward', 'backward', 'too far', 'unknown application'],
    );
    assert.equal((await readClock(here.services, APPLICATION))!.now, to);
  });

  test('a production application has no test clock', async (t) => {
    const here = await world(t);
    await here.services.storage.transaction((tx) =>
      tx.run(sql`update applications set environment = 'production' where id = ${APPLICATION}`),
    );
    assert.deepEqual(await advance(here, DAY_MS), { ok: false, refusal: 'not a sandbox' });
  });

  test('advances at once follow one another: their ways add up, and no refresh is missing or double', async (t) => {
    const here = await world(t);
    const itemId = await here.connect(DEMO, login('success'));
    const outcomes = await Promise.all([advance(here, 2 * DAY_MS), advance(here, 3 * DAY_MS), advance(here, DAY_MS)]);
    const spans = outcomes
      .map((outcome) => (outcome.ok ? ([outcome.from, outcome.now] as const) : assert.fail('refused')))
      .sort((a, b) => a[0] - b[0]);
    assert.equal(spans[1]![0], spans[0]![1]);
    assert.equal(spans[2]![0], spans[1]![1]);
    assert.equal(spans[2]![1] - spans[0]![0], 6 * DAY_MS);
    const scheduled = (await refreshesOf(here)).filter(({ cause }) => cause === 'scheduler');
    assert.equal(scheduled.length, slotsBetween(itemId, spans[0]![0], spans[2]![1]));
  });

  test("beside a server's worker, which takes what it finds due: no refresh is missing or double", async (t) => {
    const here = await world(t);
    const itemId = await here.connect(DEMO, login('success'));
    const worker = startRefreshWorker(here.services);
    const waking = setInterval(() => worker.wake(), 1);
    const moved = await advance(here, 10 * DAY_MS).finally(async () => {
      clearInterval(waking);
      await worker.stop(MINUTE_MS);
    });
    assert.ok(moved.ok);
    const scheduled = (await refreshesOf(here)).filter(({ cause }) => cause === 'scheduler');
    assert.equal(scheduled.length, slotsBetween(itemId, moved.from, moved.now));
    const refreshed = (await here.events()).filter(({ type }) => type === 'item.refreshed').map(({ timestamp }) => timestamp);
    assert.ok(scheduled.every(({ started_at }) => refreshed.some((at) => at >= started_at && at - started_at < MINUTE_MS)));
  });

  test('an advance whose process died leaves the clock to the next after a minute', async (t) => {
    const here = await world(t);
    await here.services.storage.transaction((tx) =>
      tx.run(
        sql`update applications set clock_mover = 'mov_dead', clock_mover_until = ${here.clock.now() + MINUTE_MS} where id = ${APPLICATION}`,
      ),
    );
    const waiting = await advanceClock(here.services, APPLICATION, { byMs: DAY_MS }, { signal, waitMs: 1 });
    assert.deepEqual(waiting, { ok: false, refusal: 'already moving' });
    here.clock.advance(MINUTE_MS);
    assert.ok((await advance(here, DAY_MS)).ok);
  });

  test('a challenge expires on the way, at its own moment', async (t) => {
    const here = await world(t);
    const itemId = await here.connect(DEMO, login('otp'));
    assert.ok((await advance(here, 4 * MINUTE_MS)).ok);
    assert.equal(await statusOf(here, itemId), -2);
    assert.ok((await advance(here, HOUR_MS)).ok);
    assert.equal(await statusOf(here, itemId), 1010);
    const [refreshed] = (await here.events()).filter(({ type }) => type === 'item.refreshed');
    assert.ok(refreshed!.timestamp - START >= 5 * MINUTE_MS && refreshed!.timestamp - START < 6 * MINUTE_MS);
  });

  test('an approval in an app is seen at its next look', async (t) => {
    const here = await world(t);
    const itemId = await here.connect(DEMO, login('app2app'));
    assert.ok((await advance(here, MINUTE_MS)).ok);
    assert.equal(await statusOf(here, itemId), 0);
  });

  const days = engine === 'sqlite' ? 365 : 60;
  test(`${days} days of one item: two refreshes on each, in seconds`, async (t) => {
    const here = await world(t);
    await here.connect(DEMO, login('success'));
    const began = performance.now();
    const cpuBefore = process.cpuUsage();
    const moved = await advance(here, days * DAY_MS);
    const tookMs = performance.now() - began;
    const { user, system } = process.cpuUsage(cpuBefore);
    const cpuMs = (user + system) / 1000;
    assert.ok(moved.ok);
    t.diagnostic(
      `${engine}: ${moved.refreshes} refreshes and ${moved.events} events in ${Math.round(tookMs)} ms (${Math.round(cpuMs)} ms of processor time)`,
    );
    assert.ok(moved.refreshes >= 2 * days - 1 && moved.refreshes <= 2 * days + 1, `${moved.refreshes}`);
    assert.equal(await statusOf(here, (await refreshesOf(here))[0]!.item_id), 0);
    if (engine === 'sqlite') assert.ok(cpuMs < YEAR_CPU_LIMIT_MS, `${Math.round(cpuMs)} ms`);
  });
});
