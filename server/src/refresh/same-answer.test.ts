/** A refresh that recognises its answer decides what one that compares every row decides: on random histories, step by step. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { AccountRecord } from '../accounts/accounts.ts';
import { DAY_MS, HOUR_MS, isoDate } from '../base/clock.ts';
import { money } from '../base/money.ts';
import type { Batch, Observation, ObservedAccount } from '../connectors/connector.ts';
import { NO_TRUST } from './detection/identifiers.ts';
import type { StoredTransaction } from './detection/types.ts';
import { identifyAccounts, type Plan, planRefresh } from './plan.ts';
import { type Comparison, nothingAgain, type Settled, settle, settledBefore, TOMBSTONES_MS } from './same-answer.ts';

const START = Date.UTC(2026, 2, 2, 8);
const ACCOUNT: ObservedAccount = {
  identity: 'one',
  name: 'Account',
  type: 'checking',
  currency: 'EUR',
  iban: null,
  isPro: false,
  loanDetails: null,
  savingsDetails: null,
  handle: '1',
};

type Payment = { serial: number; day: number; minor: number; label: string; booksAfter: number; lapses: boolean; ahead: boolean };
type Step = {
  hours: number;
  happens: 'nothing' | 'payment' | 'withdrawal' | 'silence' | 'relabel' | 'interest' | 'rename';
  payment: Payment;
};

const payment = fc.record({
  serial: fc.integer({ min: 0, max: 5_000 }),
  // Future days too: rows that the window reaches later.
  day: fc.integer({ min: -8, max: 3 }),
  minor: fc.constantFrom(-250, -250, -980, -4_200),
  label: fc.constantFrom('CAFE DU PARC', 'CAFE DU PARC', 'LIBRAIRIE'),
  booksAfter: fc.integer({ min: 0, max: 3 }),
  lapses: fc.boolean(),
  // Booked under a date that has not come.
  ahead: fc.boolean(),
});
const step = fc.record({
  hours: fc.constantFrom(1, 7, 12, 12, 24, 48, 300, 2_200),
  happens: fc.constantFrom<Step['happens'][]>(
    'nothing',
    'nothing',
    'nothing',
    'payment',
    'payment',
    'withdrawal',
    'silence',
    'relabel',
    'interest',
    'rename',
  ),
  payment,
});
const bank = fc.record({
  ids: fc.constantFrom('stable', 'minted', 'none'),
  from: fc.constantFrom('asked', 'fixed'),
  incomplete: fc.boolean(),
  balance: fc.constantFrom('none', 'dated', 'undated'),
});
type Bank = { ids: 'stable' | 'minted' | 'none'; from: 'asked' | 'fixed'; incomplete: boolean; balance: 'none' | 'dated' | 'undated' };

type Side = { account: AccountRecord | null; name: string; rows: Map<number, StoredTransaction>; lastId: number };

/** What the bank shows: rows that are not withdrawn, pending first, then booked. */
function answerOf(
  bankOf: Bank,
  payments: readonly Payment[],
  from: string,
  now: number,
  delivery: number,
  shown: { silent: boolean; interest: number },
): Batch {
  const today = Math.floor(now / DAY_MS);
  const observations: Observation[] = [];
  for (const { serial, day, minor, label, booksAfter, lapses, ahead } of payments) {
    const booked = ahead || day + booksAfter <= today;
    const date = isoDate((booked ? day + booksAfter : day) * DAY_MS);
    if (date < from || (lapses && booked) || shown.silent) continue;
    const providerId = bankOf.ids === 'none' ? undefined : bankOf.ids === 'stable' ? `t${serial}` : `${delivery}:${serial}`;
    observations.push({
      status: booked ? 'booked' : 'pending',
      amount: money(minor, 2, 'EUR'),
      ...(booked ? { bookingDate: date } : { transactionDate: date }),
      rawText: booked ? label : `CB ${label}`,
      ...(providerId === undefined ? {} : { providerId }),
    });
  }
  const total = observations.reduce((sum, { status, amount }) => (status === 'booked' ? sum + amount.minor : sum), shown.interest);
  return {
    observations,
    coverage: {
      windows: [{ from, to: isoDate(now) }],
      bookedComplete: !bankOf.incomplete,
      pendingComplete: !bankOf.incomplete,
      scheduledComplete: !bankOf.incomplete,
      edgeExclusive: false,
      historyComplete: false,
    },
    balance:
      bankOf.balance === 'none'
        ? null
        : { amount: money(total, 2, 'EUR'), kind: 'booked', at: bankOf.balance === 'dated' ? isoDate(now) : null },
  };
}

function look(side: Side, batch: Batch, now: number, refreshId: string, mayRecognise: boolean): { plan: Plan; recognised: boolean } {
  const stored = side.account === null ? [] : [side.account];
  const asked = { phase: 'incremental' as const, from: batch.coverage.windows[0]!.from };
  const answer = {
    kind: 'answered' as const,
    keep: undefined,
    listComplete: true,
    accounts: [{ account: { ...ACCOUNT, name: side.name }, asked, answer: { kind: 'fetched' as const, batches: [batch] } }],
  };
  const since = isoDate(Date.parse(batch.coverage.windows[0]!.from) - 30 * DAY_MS);
  const again = mayRecognise && side.account !== null ? settledBefore({ account: side.account, batches: [batch], since, now }) : null;
  const rows = [...side.rows.values()].filter(
    ({ deletedAt, date, status, missing }) =>
      (deletedAt === null || deletedAt > now - TOMBSTONES_MS) && (date >= since || status !== 'booked' || missing > 0),
  );
  const plan = planRefresh(
    {
      item: { id: 1, userUuid: 'u', createdAt: START },
      refreshId,
      answer,
      stored,
      rows: again ? new Map() : new Map([[1, rows]]),
      since: new Map([[1, since]]),
      settled: again ? new Map([[1, again]]) : new Map(),
      phase: 'incremental',
      pendingTransition: 'update',
      now,
    },
    identifyAccounts(stored, answer, now),
    [1],
  );
  const [planned] = plan.accounts;
  for (const { row } of planned!.rows.created) {
    side.lastId += 1;
    side.rows.set(side.lastId, { ...row, id: side.lastId });
  }
  for (const row of [...planned!.rows.counted, ...planned!.rows.uncounted]) side.rows.set(row.id, row);
  if (planned!.isNew || planned!.changed) side.account = planned!.record;
  return { plan, recognised: again !== null };
}

const withoutSettled = (account: AccountRecord | null) => ({ ...account, settled: null });

/** Plays the history on both sides; answers how many answers were recognised. */
function play(bankOf: Bank, steps: readonly Step[]): number {
  const compared: Side = { account: null, name: 'Account', rows: new Map(), lastId: 0 };
  const quick: Side = { account: null, name: 'Account', rows: new Map(), lastId: 0 };
  let payments: Payment[] = [];
  let now = START;
  let interest = 0;
  let recognised = 0;
  steps.forEach(({ hours, happens, payment: made }, delivery) => {
    now += hours * HOUR_MS;
    if (happens === 'payment') payments.push({ ...made, day: Math.floor(now / DAY_MS) + made.day });
    if (happens === 'withdrawal') payments = payments.slice(0, -1);
    if (happens === 'relabel') payments = payments.map((row) => ({ ...row, label: row.label.replace('CAFE', 'BAR CAFE') }));
    if (happens === 'interest') interest += 1;
    if (happens === 'rename') for (const side of [compared, quick]) side.name += '!';
    const asked = compared.account?.nextWindowFrom ?? isoDate(START - 30 * DAY_MS);
    const from = bankOf.from === 'fixed' ? isoDate(START - 30 * DAY_MS) : asked;
    const batch = answerOf(bankOf, payments, from, now, delivery, { silent: happens === 'silence', interest });
    const whole = look(compared, batch, now, `rfr_${delivery}`, false);
    const short = look(quick, batch, now, `rfr_${delivery}`, true);
    if (short.recognised) recognised += 1;
    assert.deepEqual(short.plan.drafts, whole.plan.drafts);
    assert.deepEqual(short.plan.accounts[0]!.outcome, whole.plan.accounts[0]!.outcome);
    assert.equal(short.plan.fullRefreshWanted, whole.plan.fullRefreshWanted);
    assert.deepEqual(quick.rows, compared.rows);
    assert.deepEqual(withoutSettled(quick.account), withoutSettled(compared.account));
  });
  return recognised;
}

test('what is recognised is what a whole comparison would find: nothing', () => {
  let recognised = 0;
  fc.assert(
    fc.property(bank, fc.array(step, { minLength: 5, maxLength: 40 }), (bankOf, steps) => {
      recognised += play(bankOf, steps);
    }),
    { numRuns: 400 },
  );
  assert.ok(recognised > 500, `only ${recognised} answers were recognised: the property says little`);
});

test('a bank that shows the same twice is compared once more, and not a third time, tomorrow either', () => {
  const made: Payment = { serial: 1, day: -2, minor: -250, label: 'CAFE', booksAfter: 0, lapses: false, ahead: false };
  const nothing: Step = { hours: 12, happens: 'nothing', payment: made };
  const quiet: Bank = { ids: 'stable', from: 'fixed', incomplete: false, balance: 'dated' };
  assert.equal(play(quiet, [{ ...nothing, happens: 'payment' }, nothing, nothing, nothing, nothing, nothing]), 4);
});

/** A comparison that found nothing, in an account that has a row or none. */
function settled(
  rows: readonly StoredTransaction[],
  since: string | null,
  observations: readonly Observation[] = [],
): { account: AccountRecord; comparison: Comparison } {
  const side: Side = { account: null, name: 'Account', rows: new Map(rows.map((row) => [row.id, row])), lastId: 100 };
  const bankOf: Bank = { ids: 'none', from: 'fixed', incomplete: false, balance: 'none' };
  const batch = { ...answerOf(bankOf, [], '2026-02-01', START, 0, { silent: false, interest: 0 }), observations };
  look(side, batch, START, 'rfr_0', false);
  const base = { ...side.account!, settled: null };
  const comparison = { account: base, batches: [batch], since, now: START };
  const outcome = nothingAgain(base, { evidence: NO_TRUST } as Settled, null);
  const found = settle(comparison, 'rfr_1', rows, outcome);
  return { account: { ...base, settled: found && JSON.stringify(found) }, comparison };
}

const ROW: StoredTransaction = {
  id: 1,
  status: 'booked',
  amount: money(-250, 2, 'EUR'),
  date: '2026-01-02',
  dateSource: 'booking',
  bookingDate: '2026-01-02',
  valueDate: null,
  transactionDate: null,
  rawText: 'CAFE',
  counterpartyName: null,
  counterpartyIban: null,
  endToEndId: null,
  providerId: null,
  aliases: [],
  balanceAfter: null,
  missing: 0,
  missingAt: null,
  deletedAt: null,
};

test('what time alone decides ends it: a deleted hold that may no longer book, a deleted row that is no longer compared', () => {
  const recognised = (deleted: Partial<StoredTransaction>, after: number) => {
    const { account, comparison } = settled([{ ...ROW, ...deleted }], null);
    return settledBefore({ ...comparison, account, now: START + after }) !== null;
  };
  const booked = { deletedAt: START - DAY_MS };
  assert.equal(recognised(booked, 89 * DAY_MS - 1), true);
  assert.equal(recognised(booked, 89 * DAY_MS), false);
  const pending = { ...booked, status: 'pending' as const };
  assert.equal(recognised(pending, 9 * DAY_MS - 1), true);
  assert.equal(recognised(pending, 9 * DAY_MS), false);
  assert.equal(recognised({ ...pending, deletedAt: START - 20 * DAY_MS }, 70 * DAY_MS - 1), true);
  assert.equal(recognised(booked, -1), false);
});

test('the same answer beside other stored rows is not the same comparison', () => {
  const { account, comparison } = settled([], '2026-01-02');
  assert.notEqual(settledBefore({ ...comparison, account }), null);
  assert.equal(settledBefore({ ...comparison, account, since: null }), null);
});

const REQUIRED: readonly (keyof Observation)[] = ['status', 'amount', 'rawText'];

test('an answer with another value in any one field of a row is another answer', () => {
  const full: Required<Observation> = {
    status: 'booked',
    amount: money(-250, 2, 'EUR'),
    bookingDate: '2026-02-02',
    valueDate: '2026-02-03',
    transactionDate: '2026-02-01',
    rawText: 'CAFE',
    counterpartyName: 'CAFE DU PARC',
    counterpartyIban: 'FR7630006000011234567890189',
    endToEndId: 'e2e',
    providerId: 'p1',
    linkPendingId: 'p0',
    balanceAfter: money(1_000, 2, 'EUR'),
    bankCode: 'CB',
    categoryId: 7,
    showClientSide: true,
    correction: { action: 'replace', providerId: 'p2' },
  };
  const others: Required<Observation> = {
    status: 'pending',
    amount: money(-250, 1, 'EUR'),
    bookingDate: '2026-02-04',
    valueDate: '2026-02-04',
    transactionDate: '2026-02-04',
    rawText: 'CAFE ',
    counterpartyName: 'CAFE',
    counterpartyIban: 'FR7630006000011234567890188',
    endToEndId: 'e2f',
    providerId: 'p',
    linkPendingId: 'p',
    balanceAfter: money(1_000, 2, 'USD'),
    bankCode: 'C',
    categoryId: 8,
    showClientSide: false,
    correction: { action: 'delete', providerId: 'p2' },
  };
  const settledWith = (row: Observation) => {
    const { account, comparison } = settled([], null, [row]);
    return (again: Observation) => {
      const batches = [{ ...comparison.batches[0]!, observations: [again] }];
      return settledBefore({ ...comparison, account, batches }) !== null;
    };
  };
  const recognises = settledWith(full);
  assert.equal(recognises({ ...full }), true);
  for (const field of Object.keys(full) as (keyof Observation)[]) {
    const { [field]: _, ...without } = full;
    assert.equal(recognises({ ...full, [field]: others[field] }), false, `${field} changed`);
    if (!REQUIRED.includes(field)) assert.equal(recognises(without as Observation), false, `${field} left out`);
  }
  // Each by itself too, beside nothing that would have it looked at.
  const { status, amount, rawText } = full;
  const bare = settledWith({ status, amount, rawText });
  assert.equal(bare({ status, amount, rawText }), true);
  for (const field of Object.keys(full) as (keyof Observation)[])
    if (!REQUIRED.includes(field)) assert.equal(bare({ status, amount, rawText, [field]: full[field] }), false, `${field} alone`);
  // The same characters in other fields.
  const short = settledWith({ status: 'booked', amount: full.amount, rawText: 'A', providerId: 'B' });
  assert.equal(short({ status: 'booked', amount: full.amount, rawText: 'Ai1 B' }), false);
});
