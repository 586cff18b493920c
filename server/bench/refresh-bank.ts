/** A bank in memory: three accounts of 150 rows each, which change only when they are told to, and then all alike. */
import { DAY_MS, isoDate } from '../src/base/clock.ts';
import { type Money, money } from '../src/base/money.ts';
import type { Connector, Observation, ObservedAccount } from '../src/connectors/connector.ts';

export const BANK_ID = 1;
const ACCOUNTS = 3;
const ROWS = 150;
/** At each change this many pending rows are booked under another label, and as many new ones are pending: 8 of 150 rows, 5 %. */
const MOVED_ROWS = 4;
const ROWS_PER_DAY = 2;

export type BenchBank = {
  connector: Connector;
  /** The next refresh of every item finds 5 % of its rows changed. */
  change(): void;
};

export function benchBank(startedAt: number): BenchBank {
  let version = 0;
  let rows = rowsOfAll(version, startedAt);
  return {
    change: () => {
      version += 1;
      rows = rowsOfAll(version, startedAt);
    },
    connector: {
      bank: {
        id: BANK_ID,
        name: 'Bank of the benchmark',
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
        // Its items are refreshed hundreds of times in a minute.
        access: { callsPerDay: null, loginsPerDay: null },
      },
      authenticate: async () => ({ kind: 'authenticated', session: null }),
      listAccounts: async () => ({
        kind: 'accounts',
        complete: true,
        accounts: Array.from({ length: ACCOUNTS }, (_, index) => account(index)),
      }),
      fetchAccount: async ({ account: { handle }, now }) => {
        const { observations, from, balance } = rows[Number(handle)]!;
        const coverage = {
          windows: [{ from, to: isoDate(now) }],
          bookedComplete: true,
          pendingComplete: true,
          scheduledComplete: true,
          edgeExclusive: false,
          historyComplete: true,
        };
        return {
          kind: 'fetched',
          batches: [{ observations, coverage, balance: { amount: balance, kind: 'booked', at: isoDate(now) } }],
        };
      },
    },
  };
}

function account(index: number): ObservedAccount {
  return {
    identity: `account-${index}`,
    name: `Account ${index + 1}`,
    type: 'checking',
    currency: 'EUR',
    iban: null,
    isPro: false,
    loanDetails: null,
    savingsDetails: null,
    handle: String(index),
  };
}

type Rows = { observations: readonly Observation[]; from: string; balance: Money };

/** Made once for each version, so that the measured time is ours. */
function rowsOfAll(version: number, startedAt: number): Rows[] {
  return Array.from({ length: ACCOUNTS }, (_, index) => {
    const observations = rowsOf(index, version, startedAt);
    const booked = observations.reduce((sum, { status, amount }) => (status === 'booked' ? sum + amount.minor : sum), 0);
    return { observations, from: observations[0]!.bookingDate!, balance: money(500_000 + booked, 2, 'EUR') };
  });
}

function rowsOf(accountIndex: number, version: number, startedAt: number): Observation[] {
  const count = ROWS + version * MOVED_ROWS;
  return Array.from({ length: count }, (_, index): Observation => {
    const date = isoDate(startedAt - Math.ceil(Math.max(0, ROWS - 1 - index) / ROWS_PER_DAY) * DAY_MS);
    const pending = index >= count - MOVED_ROWS;
    const label = `MERCHANT ${(index * 7) % 40} CITY ${index}`;
    return {
      status: pending ? 'pending' : 'booked',
      amount: money(-(1_000 + ((index * 7_919) % 9_000)), 2, 'EUR'),
      ...(pending ? { transactionDate: date } : { bookingDate: date, transactionDate: date }),
      rawText: pending ? `PENDING ${label}` : `CARD ${label}`,
      providerId: `${accountIndex}-${index}`,
    };
  });
}
