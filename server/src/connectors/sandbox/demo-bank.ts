/** The Demo Bank (id 574): every login of the contract's section 7.1, and accounts that a seed and the clock decide. */
import { setTimeout as wait } from 'node:timers/promises';
import { money } from '../../base/money.ts';
import type { Balance, Bank, Connector, Coverage, FetchRequest, Json, ObservedAccount } from '../connector.ts';
import { dateOf, dayOf, dayOfDate, type Moment, momentAt } from './calendar.ts';
import { nameFor } from './draws.ts';
import { ANNOUNCED_DAYS, balanceMinor, type Customer, LONGEST_BOOKING_DAYS, operationsBy } from './habits.ts';
import { britishIban, frenchIban } from './iban.ts';
import { loanDetails } from './loans.ts';
import { answerLogin } from './logins.ts';
import { observe } from './operation.ts';
import { type AccountPlan, PLANS, planOf } from './plans.ts';
import { createScenarios, type Scenarios } from './scenarios/library.ts';
import { scenarioBank } from './scenarios/session.ts';

/** What the bank shows without limit of reason: twelve months. */
const HISTORY_DAYS = 365;
/** Bounds of the quick first phase; the contract promises at least a week. */
const RECENT_DAYS = { most: 30, least: 7 };

/** The recorded object of the wire (contract, 3.2), with the limits that stand beside its payment capabilities. */
export const demoBankEntry = {
  id: 574,
  name: 'Demo bank',
  countryCode: 'FR',
  logoUrl: '/static/banks/demo-bank.svg',
  authenticationType: 'INTERNAL_CREDS',
  form: [
    { label: 'Identifiant', type: 'USER', isNum: '0', maxLength: null, minLength: null },
    { label: 'Mot de passe', type: 'PWD', isNum: '0', maxLength: null, minLength: null },
  ],
  isHighlighted: false,
  primaryColor: null,
  secondaryColor: null,
  parentName: null,
  capabilities: ['ais', 'account_check', 'single_transfer', 'bulk_transfer', 'single_payment', 'single_payment_scheduled'],
  transfer: { nb_max_transactions: 1, max_size_label: 140, multiple_dates_transfers: false },
  payment: { nb_max_transactions: 1, max_size_label: 140, multiple_dates_payments: false, sender_iban_available: false },
  channelType: ['dsp2', 'direct_access'],
  displayOrder: null,
  environments: ['sandbox'],
  input: 'credentials',
  unattended: true,
  // Whoever tries it out may ask as often as they like.
  access: { callsPerDay: null, loginsPerDay: null, fullRefreshDays: null },
} as const satisfies Bank;

/**
 * `latencyMs`: how long the bank takes for each answer, in real time, so that progress can be watched; 0 by default.
 * `scenarios`: where logins of the form `scenario:<name>` find theirs; the presets by default.
 */
export function demoBank(options: { latencyMs?: number; scenarios?: Scenarios } = {}): Connector {
  const latencyMs = options.latencyMs ?? 0;
  const scripted = scenarioBank(options.scenarios ?? createScenarios(null));
  const answer = async (signal: AbortSignal) => {
    signal.throwIfAborted();
    if (latencyMs > 0) await wait(latencyMs, undefined, { signal });
  };
  return {
    bank: demoBankEntry,
    predictable: true,
    async authenticate(request, signal) {
      await answer(signal);
      const seed = nameFor(32, 'demo bank', request.itemId);
      const played = await scripted.authenticate(request, seed, signal);
      if (played) return played;
      return answerLogin(request, { seed, connectedDay: dayOf(momentAt(request.connectedAt)) });
    },
    async listAccounts(request, signal) {
      await answer(signal);
      const played = await scripted.listAccounts(request, signal);
      if (played) return played;
      const customer = readSession(request.session);
      const moment = momentAt(request.now);
      const days = dayOf(moment) - customer.connectedDay;
      const shown = PLANS.filter((plan) => plan.shownOn?.(days) ?? true);
      return { kind: 'accounts', accounts: shown.map((plan) => accountOf(customer, plan, moment)), complete: true };
    },
    async fetchAccount(request, signal) {
      await answer(signal);
      const played = await scripted.fetchAccount(request, signal);
      if (played) return played;
      const plan = planOf(request.account.handle);
      if (!plan) return { kind: 'failed', status: 1003, info: 'CNT_CRASH' };
      return { kind: 'fetched', batches: [batchOf(readSession(request.session), plan, request)] };
    },
  };
}

function accountOf(customer: Customer, plan: AccountPlan, moment: Moment): ObservedAccount {
  const index = PLANS.indexOf(plan);
  const opened = plan.openedDaysAfterConnection;
  const savingsDetails = plan.savingsDetails ?? null;
  return {
    identity: identityOf(customer, plan),
    name: plan.name,
    type: plan.type,
    currency: plan.currency,
    iban: plan.iban === null ? null : plan.iban === 'french' ? frenchIban(customer.seed, index) : britishIban(customer.seed, index),
    isPro: false,
    loanDetails: plan.loan ? loanDetails(plan.loan, customer.connectedDay, moment) : null,
    savingsDetails:
      savingsDetails && opened !== undefined ? { ...savingsDetails, opening_date: dateOf(customer.connectedDay + opened) } : savingsDetails,
    handle: plan.key,
  };
}

function batchOf(customer: Customer, plan: AccountPlan, request: FetchRequest) {
  const moment = momentAt(request.now);
  const coverage = coverageOf(request, moment);
  const { from, to } = coverage.windows[0]!;
  const account = { namespace: identityOf(customer, plan), currency: plan.currency, idStyle: plan.idStyle };
  const oldestDay = dayOfDate(from) - LONGEST_BOOKING_DAYS;
  const observations = operationsBy(customer, plan, moment, oldestDay)
    .map((operation) => observe(operation, moment, account))
    .filter((row) => row !== null)
    .filter((row) => {
      const date = row.bookingDate ?? row.transactionDate ?? row.valueDate ?? to;
      return date >= from && date <= to;
    })
    // Newest first, as banks list them.
    .reverse();
  const minor = balanceMinor(customer, plan, moment);
  const balance: Balance = { amount: money(minor, 2, plan.currency), kind: 'booked', at: dateOf(dayOf(moment)) };
  return { observations, coverage, balance };
}

/** Answers reach a few days ahead, where announced direct debits stand. */
function coverageOf(request: FetchRequest, moment: Moment): Coverage & { windows: readonly { from: string; to: string }[] } {
  const today = dayOf(moment);
  const oldest = today - HISTORY_DAYS;
  const asked = request.from === null ? null : dayOfDate(request.from);
  const from =
    request.phase === 'full'
      ? oldest
      : request.phase === 'recent'
        ? clamp(asked ?? today - RECENT_DAYS.most, today - RECENT_DAYS.most, today - RECENT_DAYS.least)
        : clamp(asked ?? today - RECENT_DAYS.most, oldest, today);
  return {
    windows: [{ from: dateOf(from), to: dateOf(today + ANNOUNCED_DAYS) }],
    bookedComplete: true,
    pendingComplete: true,
    scheduledComplete: true,
    edgeExclusive: false,
    historyComplete: request.phase === 'full',
  };
}

function identityOf(customer: Customer, plan: AccountPlan): string {
  return nameFor(24, customer.seed, plan.key);
}

function readSession(session: Json): Customer {
  if (session !== null && typeof session === 'object' && !Array.isArray(session)) {
    const { seed, connectedDay } = session;
    if (typeof seed === 'string' && typeof connectedDay === 'number') return { seed, connectedDay };
  }
  throw new TypeError('this is not a session of the Demo Bank');
}

function clamp(value: number, lowest: number, highest: number): number {
  return Math.min(highest, Math.max(lowest, value));
}
