/**
 * What happens on an account, day by day: a pure function of the seed, the day of the connection and the plan.
 *
 * The corrections of the bank stand on fixed days, so that any week shows each of them: every 4th day a payment is
 * pending and then dropped; every 3rd day a booked label is rewritten; every 5th day a booked fee is taken back; every
 * 7th day a value date is moved.
 */
import { at, type Day, dayInMonth, dayOf, type Moment, monthOf, shortDateOf } from './calendar.ts';
import { type Draws, drawsFor } from './draws.ts';
import { dueMinor, REPAYMENT_DAY_OF_MONTH, REPAYMENT_HOUR, remainingMinor, repaymentsBy } from './loans.ts';
import { BRITISH_MERCHANTS, FRENCH_MERCHANTS } from './merchants.ts';
import { bookedMinor, type Operation } from './operation.ts';
import { type AccountPlan, planOf } from './plans.ts';

/** The person whose accounts these are. */
export type Customer = { seed: string; connectedDay: Day };

/** Days of history before the connection: a little more than the twelve months that the bank shows. */
const HISTORY_DAYS = 400;
/** A direct debit is announced this long before; answers cover as many days to come. */
export const ANNOUNCED_DAYS = 2;
/** A card payment is booked at most this many days after it was made. */
export const LONGEST_BOOKING_DAYS = 3;
/** After these all of a day is booked or taken back: a payment by its third day, a fee by its second. */
const SETTLED_AFTER_DAYS = LONGEST_BOOKING_DAYS + 1;
const DROPPED_EVERY_DAYS = 4;
const RELABELLED_EVERY_DAYS = 3;
const FEE_EVERY_DAYS = 5;
const VALUE_MOVED_EVERY_DAYS = 7;
/** The statement of a deferred card leaves out the last days of the month: their payments may not be booked yet. */
const STATEMENT_LAG_DAYS = 3;
const STATEMENT_HOUR = 6;
const SMALLEST_PAYMENT_MINOR = 180;

/** What the account has seen or has been announced by a moment, from a day on, oldest first. */
export function operationsBy(customer: Customer, plan: AccountPlan, moment: Moment, fromDay: Day): Operation[] {
  const { from, days } = daysBy(customer, plan, moment);
  return days.slice(Math.max(0, fromDay - from), Math.max(0, dayOf(moment) + ANNOUNCED_DAYS - from + 1)).flat();
}

/** The booked balance at a moment, minor units. */
export function balanceMinor(customer: Customer, plan: AccountPlan, moment: Moment): number {
  const { from, balances } = daysBy(customer, plan, moment);
  const settledDay = dayOf(moment) - SETTLED_AFTER_DAYS;
  const settled = settledDay < from ? openingMinor(customer, plan) : balances[settledDay - from]!;
  return operationsBy(customer, plan, moment, settledDay + 1).reduce((total, operation) => total + bookedMinor(operation, moment), settled);
}

/**
 * Days are asked for again at each refresh, and never change: an account that is walked through a year of test clock would
 * otherwise write each of its days some 700 times. Kept for the accounts of a few items, about 150 kB each.
 */
const ACCOUNTS_KEPT = 60;
/** `balances`: at the end of each day's own life, when all of it is booked or taken back. */
type KnownDays = { from: Day; days: Operation[][]; balances: number[] };
const kept = new Map<string, KnownDays>();

function daysBy(customer: Customer, plan: AccountPlan, moment: Moment): KnownDays {
  const known = knownDays(customer, plan);
  for (let day = known.from + known.days.length; day <= dayOf(moment) + ANNOUNCED_DAYS; day += 1) {
    const operations = operationsOn(customer, plan, day);
    const before = known.balances.at(-1) ?? openingMinor(customer, plan);
    known.days.push(operations);
    known.balances.push(operations.reduce((total, operation) => total + bookedMinor(operation, Number.POSITIVE_INFINITY), before));
  }
  return known;
}

function knownDays(customer: Customer, plan: AccountPlan): KnownDays {
  const name = `${customer.seed}/${customer.connectedDay}/${plan.key}`;
  const known = kept.get(name) ?? { from: firstDay(customer, plan), days: [], balances: [] };
  // Put anew, so that the account not asked for longest is the first.
  kept.delete(name);
  kept.set(name, known);
  if (kept.size > ACCOUNTS_KEPT) kept.delete(kept.keys().next().value!);
  return known;
}

/** The balance before the first operation. */
function openingMinor(customer: Customer, plan: AccountPlan): number {
  if (!plan.loan) return plan.openingMinor;
  return -remainingMinor(plan.loan, repaymentsBy(plan.loan, customer.connectedDay, firstDay(customer, plan) - 1));
}

function firstDay(customer: Customer, plan: AccountPlan): Day {
  const opened = plan.openedDaysAfterConnection;
  return customer.connectedDay + (opened === undefined ? -HISTORY_DAYS : opened);
}

function operationsOn(customer: Customer, plan: AccountPlan, day: Day): Operation[] {
  return [
    ...openingPayment(customer, plan, day),
    ...monthlyRows(customer, plan, day),
    ...repayments(customer, plan, day),
    ...cardStatement(customer, plan, day),
    ...payments(customer, plan, day),
    ...corrections(customer, plan, day),
  ];
}

function openingPayment(customer: Customer, plan: AccountPlan, day: Day): Operation[] {
  if (plan.openedDaysAfterConnection === undefined || day !== firstDay(customer, plan)) return [];
  // Booked from midnight: the account has never been seen empty.
  return [{ key: `${day}-opening`, day, label: 'VERSEMENT OUVERTURE', amountMinor: 20_000, categoryId: 289, bookedFrom: at(day, 0) }];
}

function monthlyRows(customer: Customer, plan: AccountPlan, day: Day): Operation[] {
  const { dayOfMonth } = monthOf(day);
  return plan.monthly.flatMap((row, index): Operation[] => {
    if (row.dayOfMonth !== dayOfMonth) return [];
    const spread = (drawsFor(customer.seed, plan.key, day, 'monthly', index).fraction() - 0.5) * 2 * (row.variation ?? 0);
    return [
      {
        key: `${day}-monthly-${index}`,
        day,
        label: row.label,
        amountMinor: Math.round(row.amountMinor * (1 + spread)),
        categoryId: row.categoryId,
        bookedFrom: at(day, 7),
        ...(row.announced ? { scheduledFrom: at(day - ANNOUNCED_DAYS, 7) } : {}),
        ...(row.counterpartyName === undefined ? {} : { counterpartyName: row.counterpartyName }),
      },
    ];
  });
}

/** The repayment of a loan: capital and interest on the account that pays, capital alone on the loan. */
function repayments(customer: Customer, plan: AccountPlan, day: Day): Operation[] {
  const loan = plan.loan ?? (plan.repays === undefined ? undefined : planOf(plan.repays)?.loan);
  if (!loan || monthOf(day).dayOfMonth !== REPAYMENT_DAY_OF_MONTH) return [];
  const earlier = repaymentsBy(loan, customer.connectedDay, day - 1);
  const due = dueMinor(loan, earlier);
  if (due === 0) return [];
  const row = { key: `${day}-repayment`, day, bookedFrom: at(day, REPAYMENT_HOUR) };
  if (plan.loan) return [{ ...row, label: 'AMORTISSEMENT CAPITAL', amountMinor: loan.capitalPerMonthMinor, categoryId: 89 }];
  return [{ ...row, label: `ECHEANCE ${loan.type.toUpperCase()}`, amountMinor: -due, categoryId: 194 }];
}

/** On the last day of the month a deferred card is settled: one row on the card, its mirror on the checking account. */
function cardStatement(customer: Customer, plan: AccountPlan, day: Day): Operation[] {
  const card = plan.type === 'card' ? plan : plan.settles === undefined ? null : planOf(plan.settles);
  const { month } = monthOf(day);
  if (!card || day !== dayInMonth(month + 1, 0)) return [];
  let spentMinor = 0;
  const from = Math.max(firstDay(customer, card), dayInMonth(month, 0) - STATEMENT_LAG_DAYS + 1);
  for (let paid = from; paid <= day - STATEMENT_LAG_DAYS; paid += 1) {
    for (const payment of payments(customer, card, paid)) spentMinor += payment.amountMinor;
  }
  if (spentMinor === 0) return [];
  const row = { key: `${day}-statement`, day, categoryId: 191, bookedFrom: at(day, STATEMENT_HOUR), showClientSide: false };
  if (plan === card) return [{ ...row, label: 'REGLEMENT RELEVE CARTE', amountMinor: -spentMinor }];
  return [{ ...row, label: 'RELEVE DIFFERE CARTE', amountMinor: spentMinor }];
}

function payments(customer: Customer, plan: AccountPlan, day: Day): Operation[] {
  if (!plan.payments) return [];
  const draws = drawsFor(customer.seed, plan.key, day, 'payments');
  const relabelled = isEvery(RELABELLED_EVERY_DAYS, plan, day);
  const happens = draws.fraction() < plan.payments.perDay;
  return happens || relabelled ? [payment(draws, plan, plan.payments, day, relabelled)] : [];
}

function payment(draws: Draws, plan: AccountPlan, habit: NonNullable<AccountPlan['payments']>, day: Day, relabelled: boolean): Operation {
  const british = habit.style === 'british';
  const merchant = draws.pick(british ? BRITISH_MERCHANTS : FRENCH_MERCHANTS);
  const label = `${british ? 'CARD' : 'CB'} ${merchant.name}`;
  const paidMinor = -draws.between(SMALLEST_PAYMENT_MINOR, habit.largestMinor);
  const paidAt = at(day, draws.between(9, 20));
  // A purchase on a deferred card is booked on the card's own list at once; others wait one to three days.
  const bookedFrom = habit.style === 'deferred' ? paidAt : at(day + draws.between(1, LONGEST_BOOKING_DAYS), 7);
  const tipped = merchant.tips && draws.fraction() < 0.5 && habit.style !== 'deferred';
  const operation: Operation = {
    key: `${day}-payment`,
    day,
    label: `${label} ${shortDateOf(day)}`,
    amountMinor: tipped ? Math.round(paidMinor * 1.1) : paidMinor,
    categoryId: merchant.categoryId,
    bookedFrom,
  };
  if (habit.style !== 'deferred') operation.pending = { from: paidAt, amountMinor: paidMinor, label };
  if (relabelled) operation.amended = { from: bookedFrom + 24, label: `${operation.label} PAIEMENT SANS CONTACT` };
  else if (isEvery(VALUE_MOVED_EVERY_DAYS, plan, day)) operation.amended = { from: bookedFrom + 24, valueDay: dayOf(bookedFrom) + 1 };
  return operation;
}

/** What the bank takes back: a payment dropped before it was booked, and a fee cancelled after. */
function corrections(customer: Customer, plan: AccountPlan, day: Day): Operation[] {
  const operations: Operation[] = [];
  if (isEvery(DROPPED_EVERY_DAYS, plan, day)) {
    const draws = drawsFor(customer.seed, plan.key, day, 'dropped');
    const amountMinor = -draws.between(2_000, 12_000);
    const label = `CB RESERVATION ${draws.pick(['HOTEL', 'STATION SERVICE', 'LOCATION VOITURE'])}`;
    const pending = { from: at(day, draws.between(9, 18)), amountMinor, label };
    operations.push({
      key: `${day}-dropped`,
      day,
      label,
      amountMinor,
      categoryId: 276,
      pending,
      bookedFrom: null,
      removedFrom: at(day + 2, 8),
    });
  }
  if (isEvery(FEE_EVERY_DAYS, plan, day)) {
    operations.push({
      key: `${day}-fee`,
      day,
      label: "COMMISSION D'INTERVENTION",
      amountMinor: -800,
      categoryId: 79,
      bookedFrom: at(day, 8),
      removedFrom: at(day + 2, 15),
    });
  }
  return operations;
}

function isEvery(days: number, plan: AccountPlan, day: Day): boolean {
  return plan.corrections !== undefined && (day + plan.corrections.shift) % days === 0;
}
