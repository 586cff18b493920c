/** A whole refresh side on a fresh database: an application, a user, and everything a refresh needs, on a clock that the test drives. */
import { type Clock, MINUTE_MS } from '../../src/base/clock.ts';
import type { Connector, Credentials } from '../../src/connectors/connector.ts';
import { LANES, type LoggedEvent, readLane } from '../../src/events/log.ts';
import { connectItem } from '../../src/refresh/connection.ts';
import { createBankOutcomes } from '../../src/refresh/schedule/circuits.ts';
import type { RefreshServices } from '../../src/refresh/services.ts';
import { runPass } from '../../src/refresh/worker.ts';
import { createCounters } from '../../src/storage/counters.ts';
import { sql } from '../../src/storage/sql.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { silentLog } from '../../src/telemetry/log.ts';
import { createVault, deriveWrappingKey } from '../../src/vault/vault.ts';

/** 2026-03-02, a Monday, 08:00 UTC. */
export const START = Date.UTC(2026, 2, 2, 8);
export const USER = '766b2f5d-a942-492c-9ea7-2e5aa88cb672';
export const APPLICATION = 'app_test';

export type World = {
  services: RefreshServices;
  clock: Clock & { advance(ms: number): void };
  /** Presses "Add your account" and runs what follows, the full history included. */
  connect(bankId: number, credentials: Credentials): Promise<number>;
  /** Runs everything that can run now. */
  run(): Promise<void>;
  /** Every event so far, by timestamp. */
  events(): Promise<LoggedEvent[]>;
  /** Opens a Connect session's row, as the pages do. */
  session(): Promise<string>;
};

export async function createWorld(storage: Storage, connectors: readonly Connector[]): Promise<World> {
  let now = START;
  const clock = {
    now: () => now,
    advance(ms: number) {
      now += ms;
    },
  };
  const wrapping = deriveWrappingKey('a secret of the test, long enough to be one');
  const services: RefreshServices = {
    storage,
    vault: createVault(() => ({ current: wrapping, all: [wrapping] })),
    counters: createCounters(storage),
    clock,
    log: silentLog,
    connector: (bankId) => connectors.find(({ bank }) => bank.id === bankId) ?? null,
    pause: async () => {},
    outcomes: createBankOutcomes(),
    onEvents: () => {},
  };
  await storage.transaction(async (tx) => {
    await tx.run(sql`
      insert into applications (id, name, environment, client_id, client_secret_digest, created_at)
      values (${APPLICATION}, 'test', 'sandbox', 'client', 'digest', ${START})`);
    await tx.run(sql`insert into users (uuid, application_id, created_at) values (${USER}, ${APPLICATION}, ${START})`);
  });
  let sessions = 0;

  const world: World = {
    services,
    clock,
    async session() {
      sessions += 1;
      const id = `session ${sessions}`;
      await storage.transaction((tx) =>
        tx.run(sql`
          insert into connect_sessions (id, application_id, user_uuid, purpose, step, link_expires_at, created_at)
          values (${id}, ${APPLICATION}, ${USER}, 'add', 'bank_creds_form', ${now + 1_000_000}, ${now})`),
      );
      return id;
    },
    async connect(bankId, credentials) {
      const sessionId = await world.session();
      const request = { sessionId, applicationId: APPLICATION, userUuid: USER, bankId, credentials, clockOffsetMs: 0 };
      const connected = await connectItem(services, request);
      if (typeof connected === 'string') throw new Error(`the item is ${connected}`);
      const { itemId } = connected;
      await world.run();
      clock.advance(5_000);
      await world.run();
      return itemId;
    },
    async run() {
      while ((await runPass(services, APPLICATION, new AbortController().signal)) > 0);
    },
    async events() {
      const lanes = await Promise.all(Array.from({ length: LANES }, (_, lane) => readLane(storage, lane, 0, 100_000)));
      return lanes.flat().sort((a, b) => a.timestamp - b.timestamp);
    },
  };
  return world;
}

export const openRefresh = ({ services: { storage } }: World) =>
  storage.first<{ failed_runs: number; run_at: number }>(sql`select failed_runs, run_at from refreshes where finished_at is null`);

/** Until no refresh is open any more; an hour at most. */
export async function runToTheEnd(world: World): Promise<void> {
  for (let minute = 0; minute < 60; minute += 1) {
    await world.run();
    if ((await openRefresh(world)) === undefined) return;
    world.clock.advance(MINUTE_MS);
  }
  throw new Error('the refresh is still open');
}
