import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { findCategory } from '../categories.ts';
import type { Batch, FetchRequest, Json, ObservedAccount } from '../connector.ts';
import { demoBank } from './demo-bank.ts';
import { ibanRemainder } from './iban.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const CONNECTED_AT = Date.UTC(2026, 2, 10, 9);
const bank = demoBank();
const signal = AbortSignal.any([]);

async function connect(itemId = 7, connectedAt = CONNECTED_AT): Promise<Json> {
  const request = {
    itemId,
    credentials: { USER: 'success' },
    attended: true,
    answer: null,
    refreshIndex: 0,
    challengedAt: null,
    kept: null,
  };
  const answer = await bank.authenticate({ ...request, connectedAt, now: connectedAt }, signal);
  assert.ok(answer.kind === 'authenticated');
  return answer.session;
}

async function list(session: Json, now: number): Promise<readonly ObservedAccount[]> {
  const answer = await bank.listAccounts({ itemId: 7, session, now }, signal);
  assert.ok(answer.kind === 'accounts' && answer.complete);
  return answer.accounts;
}

type Asked = Partial<Pick<FetchRequest, 'phase' | 'from'>>;

async function fetchOne(session: Json, account: ObservedAccount, now: number, asked: Asked = {}): Promise<Batch> {
  const answer = await bank.fetchAccount({ itemId: 7, session, account, now, phase: 'full', from: null, ...asked }, signal);
  assert.ok(answer.kind === 'fetched' && answer.batches.length === 1);
  return answer.batches[0]!;
}

async function snapshot(session: Json, now: number, asked: Asked = {}): Promise<Map<string, Batch>> {
  const accounts = await list(session, now);
  const entries = accounts.map(async (account) => [account.name, await fetchOne(session, account, now, asked)] as const);
  return new Map(await Promise.all(entries));
}

function bookedSum(batch: Batch): number {
  return batch.observations.filter((row) => row.status === 'booked').reduce((total, row) => total + row.amount.minor, 0);
}

test('the same item at the same time is the same bank; another item is another customer', async () => {
  const now = CONNECTED_AT + 5 * DAY_MS;
  assert.deepEqual(await snapshot(await connect(), now), await snapshot(await connect(), now));
  const ibans = async (itemId: number) => (await list(await connect(itemId), now)).map((account) => account.iban);
  assert.notDeepEqual(await ibans(7), await ibans(8));
});

test('a customer has the accounts of the documented dataset', async () => {
  const accounts = await list(await connect(), CONNECTED_AT);
  const count = (type: string) => accounts.filter((account) => account.type === type).length;
  assert.deepEqual(['checking', 'card', 'savings', 'brokerage', 'loan'].map(count), [4, 2, 1, 3, 2]);
  assert.equal(accounts.filter((account) => account.currency === 'GBP').length, 1);
  for (const account of accounts) {
    assert.equal(account.loanDetails !== null, account.type === 'loan');
    assert.equal(account.savingsDetails !== null, account.type === 'savings');
    assert.equal(account.iban === null, account.type === 'card');
    if (account.iban) assert.equal(ibanRemainder(account.iban), 1, account.iban);
  }
  const ibans = accounts.flatMap((account) => account.iban ?? []);
  assert.equal(new Set(ibans).size, ibans.length);
});

test('what a loan still owes is its balance', async () => {
  const session = await connect();
  for (const days of [0, 20, 26, 60]) {
    for (const account of await list(session, CONNECTED_AT + days * DAY_MS)) {
      if (!account.loanDetails) continue;
      const { balance } = await fetchOne(session, account, CONNECTED_AT + days * DAY_MS);
      assert.equal(Math.round((account.loanDetails.remaining_capital ?? 0) * 100), -(balance?.amount.minor ?? 0));
    }
  }
});

test('rows are plausible: known categories, one id each, a year of them', async () => {
  const batches = await snapshot(await connect(), CONNECTED_AT);
  let rows = 0;
  for (const { observations, coverage } of batches.values()) {
    rows += observations.length;
    assert.equal(coverage.historyComplete, true);
    assert.equal(new Set(observations.map((row) => row.providerId)).size, observations.length);
    for (const row of observations) {
      assert.ok(row.categoryId !== undefined && findCategory(row.categoryId));
      const date = row.bookingDate ?? row.transactionDate ?? '';
      assert.ok(coverage.windows.some((window) => date >= window.from && date <= window.to));
    }
  }
  assert.ok(rows > 700 && rows < 3000, String(rows));
  const checking = batches.get('Compte Courant 1')!;
  assert.ok(checking.observations.at(-1)!.bookingDate! < '2025-03-20');
});

test('a phase answers for exactly the dates that it vouches for', async () => {
  const session = await connect();
  const [account] = await list(session, CONNECTED_AT);
  const from = async (asked: Asked) => (await fetchOne(session, account!, CONNECTED_AT, asked)).coverage;
  assert.equal((await from({ phase: 'recent' })).windows[0]!.from, '2026-02-08');
  assert.equal((await from({ phase: 'recent', from: '2026-03-09' })).windows[0]!.from, '2026-03-03');
  assert.equal((await from({ phase: 'incremental', from: '2026-01-15' })).windows[0]!.from, '2026-01-15');
  assert.equal((await from({ phase: 'full' })).windows[0]!.from, '2025-03-10');
  assert.equal((await from({ phase: 'incremental', from: '2026-01-15' })).historyComplete, false);
});

test('between any two moments the balance moves by the sum of the booked changes', async () => {
  const session = await connect();
  const hours = fc.integer({ min: 0, max: 24 * 200 });
  await fc.assert(
    fc.asyncProperty(hours, hours, async (first, second) => {
      const asked: Asked = { phase: 'incremental', from: '2026-02-01' };
      const before = await snapshot(session, CONNECTED_AT + first * HOUR_MS, asked);
      const after = await snapshot(session, CONNECTED_AT + second * HOUR_MS, asked);
      for (const [name, batch] of after) {
        const earlier = before.get(name);
        if (!earlier) continue;
        assert.equal(batch.balance!.amount.minor - earlier.balance!.amount.minor, bookedSum(batch) - bookedSum(earlier), name);
      }
    }),
    { numRuns: 20 },
  );
});

/** Walks with two refreshes a day, and says what a comparison by provider id saw. */
async function walk(days: number, connectedAt: number, itemId: number) {
  const session = await connect(itemId, connectedAt);
  const seen = { added: 0, changed: 0, pendingDropped: 0, bookedRemoved: 0, idsChanged: 0, appeared: [] as string[], gone: [] as string[] };
  const asked: Asked = { phase: 'incremental', from: new Date(connectedAt - 30 * DAY_MS).toISOString().slice(0, 10) };
  let earlier = await snapshot(session, connectedAt, asked);
  for (let step = 1; step <= days * 2; step += 1) {
    const later = await snapshot(session, connectedAt + step * 12 * HOUR_MS, asked);
    for (const name of later.keys()) if (!earlier.has(name)) seen.appeared.push(`${name} +${step / 2}`);
    for (const name of earlier.keys()) if (!later.has(name)) seen.gone.push(`${name} +${step / 2}`);
    for (const [name, batch] of later) compare(earlier.get(name), batch, seen);
    earlier = later;
  }
  return seen;
}

function compare(
  earlier: Batch | undefined,
  later: Batch,
  seen: { added: number; changed: number; pendingDropped: number; bookedRemoved: number; idsChanged: number },
): void {
  if (!earlier) return;
  const before = new Map(earlier.observations.map((row) => [row.providerId, row]));
  const after = new Map(later.observations.map((row) => [row.providerId, row]));
  const oldest = later.coverage.windows[0]!.from;
  for (const [id, row] of after) {
    const known = before.get(id);
    if (!known) seen.added += 1;
    else if (JSON.stringify(known) !== JSON.stringify(row)) seen.changed += 1;
  }
  for (const [id, row] of before) {
    if (after.has(id) || (row.bookingDate ?? row.transactionDate ?? '') < oldest) continue;
    const amount = row.amount.minor;
    const replaced = later.observations.some((other) => !before.has(other.providerId) && Math.abs(other.amount.minor / amount - 1) < 0.11);
    if (row.status === 'booked') seen.bookedRemoved += 1;
    else if (replaced) seen.idsChanged += 1;
    else seen.pendingDropped += 1;
  }
}

test('any week shows rows that come, change and go, an account that appears and one that stays away for more than 20 hours', async () => {
  for (const hour of [0, 4.5, 9, 14, 22.9]) {
    for (let start = 0; start < 3; start += 1) {
      const seen = await walk(7, Date.UTC(2026, 4 + start, 3 + start * 4) + hour * HOUR_MS, start);
      const text = JSON.stringify({ hour, start, ...seen });
      assert.ok(seen.added > 7 && seen.changed > 0 && seen.pendingDropped > 0 && seen.bookedRemoved > 0, text);
      assert.equal(seen.appeared.length, 1, text);
      assert.equal(seen.gone.length, 1, text);
      assert.ok(Number(seen.gone[0]!.split('+')[1]) <= 5.5, text);
    }
  }
});

test('two weeks also show the account that returns, and pending rows booked under new ids', async () => {
  const seen = await walk(14, CONNECTED_AT, 7);
  assert.ok(seen.idsChanged > 0);
  assert.deepEqual(
    seen.appeared.map((entry) => entry.split(' +')[0]),
    ['Livret Jeune', 'Compte Courant 3'],
  );
  assert.deepEqual(
    seen.gone.map((entry) => entry.split(' +')[0]),
    ['Compte Courant 3'],
  );
});

test('a slow bank can be called off', async () => {
  const slow = demoBank({ latencyMs: 60_000 });
  const session = await connect();
  await assert.rejects(slow.listAccounts({ itemId: 7, session, now: CONNECTED_AT }, AbortSignal.timeout(5)), /abort/i);
});
