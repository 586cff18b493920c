/** The accounts of one customer of the Demo Bank, and what each is used for. */
import type { AccountType, SavingsDetails } from '../connector.ts';
import type { Loan } from './loans.ts';
import type { IdStyle } from './operation.ts';

/** A row that comes once a month: its label, its amount, and what it is. */
export type Monthly = {
  dayOfMonth: number;
  label: string;
  amountMinor: number;
  categoryId: number;
  counterpartyName?: string;
  /** The bank announces it some days before, as a future row. */
  announced?: boolean;
  /** Part of the amount that varies from month to month, 0 to 1. */
  variation?: number;
};

export type AccountPlan = {
  key: string;
  name: string;
  type: AccountType;
  currency: string;
  iban: 'french' | 'british' | null;
  openingMinor: number;
  idStyle: IdStyle;
  monthly: readonly Monthly[];
  /** Chance of a card payment on any day, and the largest amount. */
  payments?: { perDay: number; largestMinor: number; style: 'french' | 'british' | 'deferred' };
  /** Key of the deferred-debit card that is settled on this account each month. */
  settles?: string;
  /** Key of the loan that is repaid from this account. */
  repays?: string;
  loan?: Loan;
  savingsDetails?: SavingsDetails;
  /** Days on which the bank corrects itself, see `habits.ts`; the number shifts them against the other accounts. */
  corrections?: { shift: number };
  /** Days since the connection on which the bank shows the account. Default: always. */
  shownOn?: (daysSinceConnection: number) => boolean;
  /** The account begins this many days after the connection, with a first payment in. */
  openedDaysAfterConnection?: number;
};

/** Days counted from 1, the day of the connection: a savings account appears on day 3, another account is away on days 6 to 13. */
const APPEARS_ON_DAY = 3;
const VANISHES_ON_DAY = 6;
const RETURNS_ON_DAY = 14;

export const PLANS: readonly AccountPlan[] = [
  {
    key: 'checking-1',
    name: 'Compte Courant 1',
    type: 'checking',
    currency: 'EUR',
    iban: 'french',
    openingMinor: 185_000,
    idStyle: 'kept',
    monthly: [
      { dayOfMonth: 3, label: 'VIR LOYER', amountMinor: -82_000, categoryId: 216 },
      { dayOfMonth: 5, label: 'VIR EPARGNE LIVRET A', amountMinor: -15_000, categoryId: 326 },
      {
        dayOfMonth: 8,
        label: 'PRLV SEPA EDF',
        amountMinor: -7_400,
        categoryId: 217,
        counterpartyName: 'EDF',
        announced: true,
        variation: 0.2,
      },
      {
        dayOfMonth: 12,
        label: 'PRLV SEPA FREE TELECOM',
        amountMinor: -3_599,
        categoryId: 180,
        counterpartyName: 'FREE TELECOM',
        announced: true,
      },
      {
        dayOfMonth: 15,
        label: 'PRLV SEPA FREE MOBILE',
        amountMinor: -1_599,
        categoryId: 277,
        counterpartyName: 'FREE MOBILE',
        announced: true,
      },
      { dayOfMonth: 27, label: 'VIR SALAIRE', amountMinor: 272_000, categoryId: 230 },
    ],
    payments: { perDay: 0.9, largestMinor: 6_200, style: 'french' },
    settles: 'card-1',
    corrections: { shift: 0 },
  },
  {
    key: 'checking-2',
    name: 'Compte Courant 2',
    type: 'checking',
    currency: 'EUR',
    iban: 'french',
    openingMinor: 320_000,
    idStyle: 'changed',
    monthly: [
      { dayOfMonth: 1, label: 'VIR COMPTE JOINT', amountMinor: 168_000, categoryId: 282 },
      {
        dayOfMonth: 18,
        label: 'PRLV SEPA VEOLIA EAU',
        amountMinor: -3_800,
        categoryId: 293,
        counterpartyName: 'VEOLIA EAU',
        announced: true,
        variation: 0.1,
      },
      { dayOfMonth: 22, label: 'PRLV SEPA MAIF', amountMinor: -4_612, categoryId: 246, counterpartyName: 'MAIF', announced: true },
    ],
    payments: { perDay: 0.5, largestMinor: 5_400, style: 'french' },
    settles: 'card-2',
    repays: 'loan-1',
    corrections: { shift: 2 },
  },
  {
    key: 'checking-3',
    name: 'Compte Courant 3',
    type: 'checking',
    currency: 'EUR',
    iban: 'french',
    openingMinor: 95_000,
    idStyle: 'linked',
    monthly: [{ dayOfMonth: 2, label: 'VIR PERMANENT', amountMinor: 34_000, categoryId: 282 }],
    payments: { perDay: 0.25, largestMinor: 2_400, style: 'french' },
    repays: 'loan-2',
    shownOn: (days) => days + 1 < VANISHES_ON_DAY || days + 1 >= RETURNS_ON_DAY,
  },
  {
    key: 'checking-gbp',
    name: 'Compte Courant GBP',
    type: 'checking',
    currency: 'GBP',
    iban: 'british',
    openingMinor: 124_000,
    idStyle: 'kept',
    monthly: [{ dayOfMonth: 6, label: 'STANDING ORDER', amountMinor: 11_000, categoryId: 282 }],
    payments: { perDay: 0.2, largestMinor: 2_900, style: 'british' },
  },
  {
    key: 'card-1',
    name: 'Carte à débit différé 1',
    type: 'card',
    currency: 'EUR',
    iban: null,
    openingMinor: 0,
    idStyle: 'kept',
    monthly: [],
    payments: { perDay: 0.45, largestMinor: 6_800, style: 'deferred' },
  },
  {
    key: 'card-2',
    name: 'Carte à débit différé 2',
    type: 'card',
    currency: 'EUR',
    iban: null,
    openingMinor: 0,
    idStyle: 'kept',
    monthly: [],
    payments: { perDay: 0.2, largestMinor: 5_200, style: 'deferred' },
  },
  {
    key: 'savings-1',
    name: 'Livret A',
    type: 'savings',
    currency: 'EUR',
    iban: 'french',
    openingMinor: 640_000,
    idStyle: 'kept',
    monthly: [{ dayOfMonth: 5, label: 'VIR EPARGNE LIVRET A', amountMinor: 15_000, categoryId: 289 }],
    savingsDetails: { opening_date: '2014-09-02', interest_rate: 2.4, ceiling: 22_950 },
  },
  brokerage('brokerage-1', "Plan d'Epargne en Actions", 1_240_000, 20_000),
  brokerage('brokerage-2', 'Compte Titres', 530_000, 10_000),
  brokerage('brokerage-3', 'PEA-PME', 215_000, 5_000),
  loan('loan-1', 'Prêt Immobilier', {
    type: 'Prêt immobilier',
    monthsBeforeConnection: 50,
    months: 240,
    capitalPerMonthMinor: 58_000,
    interestRate: 1.25,
  }),
  loan('loan-2', 'Prêt Auto', {
    type: 'Prêt auto',
    monthsBeforeConnection: 20,
    months: 60,
    capitalPerMonthMinor: 21_000,
    interestRate: 3.6,
  }),
  {
    key: 'savings-2',
    name: 'Livret Jeune',
    type: 'savings',
    currency: 'EUR',
    iban: 'french',
    openingMinor: 0,
    idStyle: 'kept',
    monthly: [{ dayOfMonth: 9, label: 'VIR PERMANENT LIVRET JEUNE', amountMinor: 2_000, categoryId: 289 }],
    savingsDetails: { opening_date: null, interest_rate: 4, ceiling: 1_600 },
    openedDaysAfterConnection: APPEARS_ON_DAY - 1,
    shownOn: (days) => days + 1 >= APPEARS_ON_DAY,
  },
];

export function planOf(key: string): AccountPlan | null {
  return PLANS.find((plan) => plan.key === key) ?? null;
}

function brokerage(key: string, name: string, openingMinor: number, depositMinor: number): AccountPlan {
  const monthly = [{ dayOfMonth: 10, label: 'VERSEMENT PROGRAMME', amountMinor: depositMinor, categoryId: 289 }];
  return { key, name, type: 'brokerage', currency: 'EUR', iban: 'french', openingMinor, idStyle: 'kept', monthly };
}

/** The balance of a loan is what is owed, negative; `habits.ts` gives its opening. */
function loan(key: string, name: string, terms: Loan): AccountPlan {
  return { key, name, type: 'loan', currency: 'EUR', iban: 'french', openingMinor: 0, idStyle: 'kept', monthly: [], loan: terms };
}
