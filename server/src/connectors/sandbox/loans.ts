/** Loans repaid in equal parts of capital each month. What is still owed is a closed form of the day. */
import { toNumber } from '../../base/money.ts';
import type { LoanDetails } from '../connector.ts';
import { at, type Day, dateOf, dayInMonth, dayOf, type Moment, monthOf } from './calendar.ts';

export type Loan = {
  /** The word of the wire's `loan_details.type`. */
  type: string;
  /** Months between the opening of the loan and the connection of the item. */
  monthsBeforeConnection: number;
  months: number;
  capitalPerMonthMinor: number;
  /** Percent a year. */
  interestRate: number;
};

/** The bank takes its due early on this day of each month. */
export const REPAYMENT_DAY_OF_MONTH = 5;
export const REPAYMENT_HOUR = 7;

/** Repayments made up to and including a day. */
export function repaymentsBy(loan: Loan, connectedDay: Day, day: Day): number {
  const { month, dayOfMonth } = monthOf(day);
  const dueSoFar = month - openingMonth(loan, connectedDay) - (dayOfMonth >= REPAYMENT_DAY_OF_MONTH ? 0 : 1);
  return Math.min(loan.months, Math.max(0, dueSoFar));
}

/** Capital still owed after a number of repayments, minor units. */
export function remainingMinor(loan: Loan, repayments: number): number {
  return loan.capitalPerMonthMinor * (loan.months - repayments);
}

/** Capital and interest of the repayment that follows `repayments` earlier ones, minor units; 0 once all is repaid. */
export function dueMinor(loan: Loan, repayments: number): number {
  if (repayments >= loan.months) return 0;
  return loan.capitalPerMonthMinor + Math.round((remainingMinor(loan, repayments) * loan.interestRate) / 1200);
}

export function loanDetails(loan: Loan, connectedDay: Day, moment: Moment): LoanDetails {
  const today = dayOf(moment);
  const repayments = repaymentsBy(loan, connectedDay, moment >= at(today, REPAYMENT_HOUR) ? today : today - 1);
  const opening = openingMonth(loan, connectedDay);
  const over = repayments >= loan.months;
  return {
    next_payment_date: over ? null : dateOf(dayInMonth(opening + repayments + 1, REPAYMENT_DAY_OF_MONTH)),
    next_payment_amount: over ? null : units(dueMinor(loan, repayments)),
    maturity_date: dateOf(dayInMonth(opening + loan.months, REPAYMENT_DAY_OF_MONTH)),
    opening_date: dateOf(dayInMonth(opening, REPAYMENT_DAY_OF_MONTH)),
    interest_rate: loan.interestRate,
    type: loan.type,
    borrowed_capital: units(remainingMinor(loan, 0)),
    repaid_capital: units(loan.capitalPerMonthMinor * repayments),
    remaining_capital: units(remainingMinor(loan, repayments)),
  };
}

function openingMonth(loan: Loan, connectedDay: Day): number {
  return monthOf(connectedDay).month - loan.monthsBeforeConnection;
}

function units(minor: number): number {
  return toNumber({ minor, exponent: 2 });
}
