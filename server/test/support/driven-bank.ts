/** A bank in memory whose rows the test decides: two accounts for each item, windows as asked, pending rows that book. */
import { DAY_MS, isoDate } from '../../src/base/clock.ts';
import { money } from '../../src/base/money.ts';
import type { Connector, Observation } from '../../src/connectors/connector.ts';

export const DRIVEN_BANK = 900_001;
const ACCOUNTS = ['first', 'second'] as const;

export type Payment = {
  account: (typeof ACCOUNTS)[number];
  /** Days since 1970. */
  day: number;
  minor: number;
  label: string;
  /** When it books, and whether under another label; null for a hold that lapses. */
  bookedOn: number | null;
};

export type DrivenBank = {
  connector: Connector;
  /** Of an item by its login. */
  payments(login: string): Payment[];
  /** Answers with nothing and vouches for everything: what an angry bank does. */
  silent: boolean;
};

export function drivenBank(): DrivenBank {
  const logins = new Map<string, Payment[]>();
  const bank: DrivenBank = {
    silent: false,
    payments(login) {
      const known = logins.get(login) ?? [];
      logins.set(login, known);
      return known;
    },
    connector: {
      bank: {
        id: DRIVEN_BANK,
        name: 'Driven bank',
        countryCode: 'FR',
        logoUrl: '/static/banks/demo-bank.svg',
        authenticationType: 'INTERNAL_CREDS',
        form: [],
        isHighlighted: false,
        primaryColor: null,
        secondaryColor: null,
        parentName: null,
        capabilities: ['ais'],
        channelType: ['direct_access'],
        displayOrder: null,
        environments: ['sandbox'],
        input: 'credentials',
        unattended: true,
      },
      authenticate: async ({ credentials }) => ({ kind: 'authenticated', session: credentials.USER ?? '' }),
      listAccounts: async () => ({
        kind: 'accounts',
        complete: true,
        accounts: ACCOUNTS.map((name) => ({
          identity: name,
          name,
          type: 'checking',
          currency: 'EUR',
          iban: null,
          isPro: false,
          loanDetails: null,
          savingsDetails: null,
          handle: name,
        })),
      }),
      fetchAccount: async ({ session, account, phase, from, now }) => {
        const start = from ?? isoDate(now - 90 * DAY_MS);
        const shown = bank.silent ? [] : rowsOf(bank.payments(String(session)), account.handle, start, now);
        const booked = rowsOf(bank.payments(String(session)), account.handle, '', now).filter(({ status }) => status === 'booked');
        const coverage = {
          windows: [{ from: start, to: isoDate(now) }],
          bookedComplete: true,
          pendingComplete: true,
          scheduledComplete: true,
          edgeExclusive: false,
          historyComplete: phase === 'full',
        };
        const total = booked.reduce((sum, { amount }) => sum + amount.minor, 100_000);
        return {
          kind: 'fetched',
          batches: [{ observations: shown, coverage, balance: { amount: money(total, 2, 'EUR'), kind: 'booked', at: isoDate(now) } }],
        };
      },
    },
  };
  return bank;
}

function rowsOf(payments: readonly Payment[], account: string, from: string, now: number): Observation[] {
  const today = Math.floor(now / DAY_MS);
  return payments.flatMap((payment, index): Observation[] => {
    if (payment.account !== account || payment.day > today) return [];
    const { bookedOn } = payment;
    const isBooked = bookedOn !== null && bookedOn <= today;
    if (bookedOn === null && payment.day + 5 < today) return [];
    const date = isoDate((isBooked ? bookedOn : payment.day) * DAY_MS);
    if (isBooked && date < from) return [];
    const amount = money(payment.minor, 2, 'EUR');
    return [
      isBooked
        ? { status: 'booked', amount, bookingDate: date, rawText: `CARD ${payment.label}`, providerId: `b${index}` }
        : { status: 'pending', amount, transactionDate: date, rawText: payment.label, providerId: `p${index}` },
    ];
  });
}
