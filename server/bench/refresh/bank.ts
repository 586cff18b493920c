/** A bank in memory: accounts whose rows all lie in the window asked for, which change only when they are told to, and then all alike. */
import { DAY_MS, isoDate } from '../../src/base/clock.ts';
import { type Money, money } from '../../src/base/money.ts';
import type { Connector, Observation, ObservedAccount } from '../../src/connectors/connector.ts';

export const BANK_ID = 1;

/**
 * `rows` of each account. At each change one in forty is booked under another label, and as many new ones are pending: 5 %.
 * They lie within the 14 days that the next refresh looks at again.
 */
export type Shape = { accounts: number; rows: number };
const DAYS = 14;
const movedRows = ({ rows }: Shape) => Math.round(rows / 40);

export type BenchBank = {
  connector: Connector;
  /** The next refresh of every item finds 5 % of its rows changed. */
  change(): void;
};

export function benchBank(shape: Shape, startedAt: number): BenchBank {
  let version = 0;
  let rows = rowsOfAll(shape, version, startedAt);
  return {
    change: () => {
      version += 1;
      rows = rowsOfAll(shape, version, startedAt);
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
        accounts: Array.from({ length: shape.accounts }, (_, index) => account(index)),
      }),
      fetchAccount: async ({ account: { handle }, from: asked, now }) => {
        const { observations, from: first, balance } = rows[Number(handle)]!;
        const from = asked ?? first;
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
function rowsOfAll(shape: Shape, version: number, startedAt: number): Rows[] {
  return Array.from({ length: shape.accounts }, (_, index) => {
    const observations = rowsOf(shape, index, version, startedAt);
    const booked = observations.reduce((sum, { status, amount }) => (status === 'booked' ? sum + amount.minor : sum), 0);
    return { observations, from: observations[0]!.bookingDate!, balance: money(500_000 + booked, 2, 'EUR') };
  });
}

function rowsOf(shape: Shape, accountIndex: number, version: number, startedAt: number): Observation[] {
  const moved = movedRows(shape);
  const count = shape.rows + version * moved;
  const perDay = Math.ceil(shape.rows / (DAYS - 1));
  return Array.from({ length: count }, (_, index): Observation => {
    const date = isoDate(startedAt - Math.floor(Math.max(0, shape.rows - 1 - index) / perDay) * DAY_MS);
    const pending = index >= count - moved;
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
