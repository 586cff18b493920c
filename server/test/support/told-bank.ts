/** A bank of two accounts that answers as it is told, and what becomes of its items by the test clock. */
import assert from 'node:assert/strict';
import type { Authentication, Connector, Failure, ObservedAccount } from '../../src/connectors/connector.ts';
import { demoBankEntry } from '../../src/connectors/sandbox/demo-bank.ts';
import { refreshItem } from '../../src/refresh/connection.ts';
import { advanceClock } from '../../src/refresh/test-clock/test-clock.ts';
import { sql } from '../../src/storage/sql.ts';
import { APPLICATION, type World } from './world.ts';

export const BANK = 4001;
export const LOGIN = { USER: 'somebody', PWD: 'any' };
const signal = new AbortController().signal;

/** A bank of two accounts without rows, with the default limits, that answers as it is told. */
export type ToldBank = {
  connector: Connector;
  answer: (login: string) => Exclude<Authentication, { kind: 'challenge' }> | null;
  /** How an account fails, by its handle; null where it does not. */
  fail: (account: string) => Failure | null;
  logins: number[];
  fetches: { at: number; account: string }[];
};

export function toldBank(access: Connector['bank']['access'] = {}): ToldBank {
  const account = (handle: string): ObservedAccount => ({
    identity: handle,
    name: handle,
    type: 'checking',
    currency: 'EUR',
    iban: null,
    isPro: false,
    loanDetails: null,
    savingsDetails: null,
    handle,
  });
  const bank: ToldBank = {
    answer: () => null,
    fail: () => null,
    logins: [],
    fetches: [],
    connector: {
      bank: { ...demoBankEntry, id: BANK, access },
      async authenticate({ now, credentials }) {
        bank.logins.push(now);
        return bank.answer(credentials.USER ?? '') ?? { kind: 'authenticated', session: null };
      },
      async listAccounts() {
        return { kind: 'accounts', accounts: [account('one'), account('two')], complete: true };
      },
      async fetchAccount({ account: { handle }, now }) {
        bank.fetches.push({ at: now, account: handle });
        const failure = bank.fail(handle);
        if (failure) return failure;
        const windows = [{ from: '2020-01-01', to: '2040-01-01' }];
        const complete = { bookedComplete: true, pendingComplete: true, scheduledComplete: true, historyComplete: true };
        const balance = { amount: { minor: 100, exponent: 2, currency: 'EUR' }, kind: 'booked', at: null };
        return { kind: 'fetched', batches: [{ observations: [], coverage: { windows, ...complete, edgeExclusive: false }, balance }] };
      },
    },
  };
  return bank;
}

export const advance = async (world: World, byMs: number) => {
  const moved = await advanceClock(world.services, APPLICATION, { byMs }, { signal });
  assert.ok(moved.ok);
  return moved;
};
export const offset = async ({ services }: World) =>
  (await services.storage.first<{ clock_offset_ms: number }>(sql`select clock_offset_ms from applications`))!.clock_offset_ms;
/** A request of the API, run to its end. */
export async function ask(world: World, itemId: number, cause: 'api' | 'connect' = 'api'): Promise<void> {
  await refreshItem(world.services, itemId, cause);
  await world.run();
}
export const itemOf = async ({ services }: World, itemId: number) =>
  (await services.storage.first<{ status: number; status_code_info: string | null; due_at: number | null }>(
    sql`select status, status_code_info, due_at from items where id = ${itemId}`,
  ))!;
export const statusesSince = async (world: World, from: number) =>
  (await world.events())
    .slice(from)
    .filter(({ type }) => type === 'item.refreshed')
    .map(({ content, itemId }) => ({ itemId, status: (JSON.parse(content) as { status_code: number }).status_code }));
export const countEvents = async (world: World) => (await world.events()).length;
