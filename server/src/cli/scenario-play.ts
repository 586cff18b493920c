/** Plays a scenario through the whole refresh on a database of its own, and compares what happened with what its file expects. */
import { randomUUID } from 'node:crypto';
import { createApplication } from '../access/applications.ts';
import { type Clock, DAY_MS } from '../base/clock.ts';
import { pause } from '../base/pause.ts';
import { demoBank } from '../connectors/sandbox/demo-bank.ts';
import { lineOf, telling } from '../connectors/sandbox/scenarios/expectation.ts';
import type { Scenario } from '../connectors/sandbox/scenarios/scenario.ts';
import { createLanes, laneOf, readLane } from '../events/log.ts';
import { connectItem, refreshItem } from '../refresh/connection.ts';
import { createBankOutcomes } from '../refresh/schedule/circuits.ts';
import type { RefreshServices } from '../refresh/services.ts';
import { advanceClock, refusalSentence } from '../refresh/test-clock/test-clock.ts';
import { createCounters } from '../storage/counters.ts';
import { migrate } from '../storage/migrate.ts';
import { sql } from '../storage/sql.ts';
import type { Storage } from '../storage/storage.ts';
import { silentLog } from '../telemetry/log.ts';
import { createUser } from '../users/users.ts';
import { createVault, deriveWrappingKey } from '../vault/vault.ts';

const DEMO_BANK = 574;
/**
 * A Tuesday morning before both bands of the scheduler. Always the same: what a day counts depends on where the refreshes fall
 * in it, so a run that began now would come out otherwise in the evening.
 */
const START_AT = Date.UTC(2026, 2, 3, 1);
/** Far beyond any scenario: a year of one item takes seconds. */
const PLAY_MAX_MS = 10 * 60_000;
const EVENTS_MAX = 100_000;

/** Lines of `expectation.ts`; `expected` is null where the file says nothing of events. */
export type PlayedDay = { day: number; events: readonly string[]; expected: readonly string[] | null };
export type Played = { days: readonly PlayedDay[]; asExpected: boolean };

/** `storage` is empty; it is migrated and filled, and nothing else may be done with it. */
export async function playScenario(storage: Storage, scenario: Scenario): Promise<Played> {
  // Only the application's clock moves: real time would let pauses of seconds fall anywhere.
  const clock: Clock = { now: () => START_AT };
  const services = await furnish(storage, scenario, clock);
  const { applicationId, itemId } = await connect(services, scenario);
  const signal = AbortSignal.timeout(PLAY_MAX_MS);
  let at = 0;
  const goTo = async (atMs: number) => {
    if (atMs <= at) return;
    const moved = await advanceClock(services, applicationId, { byMs: atMs - at }, { signal });
    if (!moved.ok) throw new Error(refusalSentence(moved.refusal));
    at = atMs;
  };
  // A moment passes, so that the full history has come before the first day's own life.
  await goTo(60_000);
  for (const step of scenario.steps) {
    if (step.word !== 'renew' || step.atMs <= 0) continue;
    await goTo(step.atMs);
    await refreshItem(services, itemId, 'connect');
  }
  await goTo(scenario.lastsDays * DAY_MS);
  return compare(scenario, await eventsByDay(services, scenario, itemId, START_AT));
}

async function furnish(storage: Storage, scenario: Scenario, clock: Clock): Promise<RefreshServices> {
  await migrate(storage, clock.now());
  await createLanes(storage);
  const key = deriveWrappingKey(`${randomUUID()}${randomUUID()}`);
  const bank = demoBank({ scenarios: { find: async (name) => (name === scenario.name ? scenario : null), names: () => [scenario.name] } });
  return {
    storage,
    vault: createVault(() => ({ current: key, all: [key] })),
    counters: createCounters(storage),
    clock,
    log: silentLog,
    connector: (bankId) => (bankId === DEMO_BANK ? bank : null),
    pause,
    outcomes: createBankOutcomes(),
    onEvents: () => {},
  };
}

async function connect(services: RefreshServices, scenario: Scenario): Promise<{ applicationId: string; itemId: number }> {
  const { storage, clock } = services;
  const now = clock.now();
  const fields = { name: scenario.title, environment: 'sandbox', redirectUrl: null } as const;
  const { id: applicationId } = await storage.transaction((tx) => createApplication(tx, fields, now));
  const identity = { kind: 'external', externalUserId: 'scenario' } as const;
  const user = await storage.transaction((tx) => createUser(tx, { applicationId, identity }, now));
  if (!user) throw new Error('the database of a scenario is not empty');
  const sessionId = randomUUID();
  await storage.transaction((tx) =>
    tx.run(sql`insert into connect_sessions (id, application_id, user_uuid, purpose, step, link_expires_at, created_at)
               values (${sessionId}, ${applicationId}, ${user.uuid}, 'add', 'bank_creds_form', ${now + DAY_MS}, ${now})`),
  );
  const credentials = { USER: `scenario:${scenario.name}`, PWD: 'any' };
  const request = { sessionId, applicationId, userUuid: user.uuid, bankId: DEMO_BANK, credentials, clockOffsetMs: 0 };
  const connected = await connectItem(services, request);
  if (typeof connected === 'string') throw new Error(`a new item cannot be ${connected}`);
  return { applicationId, itemId: connected.itemId };
}

async function eventsByDay(
  { storage }: RefreshServices,
  scenario: Scenario,
  itemId: number,
  connectedAt: number,
): Promise<Map<number, string[]>> {
  const rows = await storage.all<{ id: number; name: string; currency: string }>(
    sql`select id, name, currency from accounts where item_id = ${itemId}`,
  );
  const keys = new Map(
    rows.map(({ id, name, currency }) => [
      id,
      scenario.accounts.find((account) => (account.name ?? account.key) === name && account.currency === currency)?.key ?? String(id),
    ]),
  );
  const events = await readLane(storage, laneOf(`item:${itemId}`), 0, EVENTS_MAX);
  const days = new Map<number, string[]>();
  for (const { type, content, timestamp, accountId } of events) {
    const day = Math.floor((timestamp - connectedAt) / DAY_MS) + 1;
    const account = accountId === null ? null : (keys.get(accountId) ?? null);
    const line = lineOf({ type, content: JSON.parse(content) as Record<string, unknown>, account });
    days.set(day, [...(days.get(day) ?? []), line]);
  }
  return days;
}

function compare(scenario: Scenario, seen: ReadonlyMap<number, readonly string[]>): Played {
  const days: PlayedDay[] = [];
  // A failure that lasts is told on its first day only: each day begins with what the one before ended with.
  let failure: string[] = [];
  for (let day = 1; day <= scenario.lastsDays; day += 1) {
    const lines = seen.get(day) ?? [];
    const events = telling([...failure, ...lines]).slice(failure.length > 0 ? 1 : 0);
    const last = lines.findLast((line) => line.startsWith('item.refreshed'));
    if (last !== undefined) failure = /^item\.refreshed 0/.test(last) ? [] : [last];
    const expected = scenario.expect ? (scenario.expect.get(day) ?? []) : null;
    if (events.length > 0 || (expected?.length ?? 0) > 0) days.push({ day, events, expected });
  }
  const asExpected = days.every(({ events, expected }) => expected === null || events.join('\n') === expected.join('\n'));
  return { days, asExpected };
}
