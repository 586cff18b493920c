/** How the bank of a scenario answers a connector's calls: the state at the moment, in the shapes of the seam. Pure. */
import { DAY_MS, isoDate } from '../../../base/clock.ts';
import { type Money, money, parseDecimal } from '../../../base/money.ts';
import type { Batch, Coverage, Failure, FetchRequest, Observation, ObservedAccount, StatusCode } from '../../connector.ts';
import { defaultInfo } from '../../statuses.ts';
import { nameFor } from '../draws.ts';
import type { Scenario } from './scenario.ts';
import { type AccountState, type BankState, labelOf, type Row, stateAt } from './state.ts';

/** The bank shows a year, and what is announced for the next days. */
const HISTORY_DAYS = 365;
const AHEAD_DAYS = 40;
const RECENT_DAYS = 30;

/** One connection to the bank of a scenario; `connectedAt` is on the application's clock, epoch milliseconds. */
export type Connection = { scenario: Scenario; seed: string; connectedAt: number };

export function stateOf({ scenario, connectedAt }: Connection, now: number): BankState {
  return stateAt(scenario, now - connectedAt);
}

/** Why the login fails at this moment, or null. `renewedAt` is when the user last gave their consent anew. */
export function refusalAt(connection: Connection, now: number, renewedAt: number | null): Failure | null {
  const state = stateOf(connection, now);
  if (state.down !== null) return { kind: 'failed', status: 1003, info: state.down };
  if (state.refused) {
    const status = state.refused.status as StatusCode;
    return { kind: 'failed', status, info: state.refused.info ?? defaultInfo(status) };
  }
  const expiredAt = state.expiredAtMs === null ? null : connection.connectedAt + state.expiredAtMs;
  const expired = expiredAt !== null && (renewedAt === null || renewedAt < expiredAt);
  return expired ? { kind: 'failed', status: 1010, info: 'OTP_REQUIRED' } : null;
}

export function accountsAt(connection: Connection, now: number): ObservedAccount[] {
  return [...stateOf(connection, now).accounts.values()].filter(({ listed }) => listed).map((state) => observeAccount(connection, state));
}

function observeAccount(connection: Connection, { account }: AccountState): ObservedAccount {
  return {
    identity: account.identity === 'stable' ? namespaceOf(connection, account.key) : null,
    name: account.name ?? account.key,
    type: account.type,
    currency: account.currency,
    iban: account.iban,
    isPro: false,
    loanDetails: null,
    savingsDetails: null,
    handle: account.key,
  };
}

const namespaceOf = ({ seed }: Connection, key: string) => nameFor(16, seed, 'scenario', key);

/** Null for an account that the scenario has not. */
export function batchAt(connection: Connection, request: FetchRequest): Batch | null {
  const state = stateOf(connection, request.now).accounts.get(request.account.handle);
  if (!state) return null;
  const dateOf = (day: number) => isoDate(connection.connectedAt + (day - 1) * DAY_MS);
  const visible = state.rows.filter(({ removed }) => !removed);
  const coverage = coverageOf(request);
  const [window] = coverage.windows;
  const { from, to } = window!;
  const inWindow = visible.filter((row) => dateOf(row.bookedDay ?? row.day) >= from && dateOf(row.bookedDay ?? row.day) <= to);
  // Newest first, as banks list them; of one day the later first.
  const listed = inWindow
    .map((row, index) => ({ row, index }))
    .sort((a, b) => (b.row.bookedDay ?? b.row.day) - (a.row.bookedDay ?? a.row.day) || b.index - a.index)
    .map(({ row }) => row);
  const answered = state.truncated ? listed.slice(0, state.truncated.rows) : listed;
  const places = new Map<string, number>();
  const observations = answered.map((row, index) => {
    const date = dateOf(row.bookedDay ?? row.day);
    const place = (places.get(date) ?? 0) + 1;
    places.set(date, place);
    return observe(connection, state, row, { date, paidOn: dateOf(row.day), place, index, now: request.now });
  });
  const cut = state.truncated !== null && answered.length < listed.length && state.truncated.admits;
  return {
    observations,
    coverage: cut ? coverageOfCut(coverage, observations) : coverage,
    balance: { amount: balanceOf(state, visible), kind: 'booked', at: isoDate(request.now) },
  };
}

function coverageOf(request: FetchRequest): Coverage {
  const today = request.now;
  const oldest = isoDate(today - HISTORY_DAYS * DAY_MS);
  const asked =
    request.phase === 'full' ? oldest : request.phase === 'recent' ? isoDate(today - RECENT_DAYS * DAY_MS) : (request.from ?? oldest);
  const from = asked < oldest ? oldest : asked;
  return {
    windows: [{ from, to: isoDate(today + AHEAD_DAYS * DAY_MS) }],
    ...{ bookedComplete: true, pendingComplete: true, scheduledComplete: true, edgeExclusive: false },
    historyComplete: request.phase === 'full',
  };
}

/** One list holds all rows: of the day at which it was cut it vouches for none, whatever their status. */
function coverageOfCut(coverage: Coverage, observations: readonly Observation[]): Coverage {
  const cut = { ...coverage, edgeExclusive: true, historyComplete: false };
  const oldest = observations.at(-1);
  if (!oldest) return { ...cut, windows: [], bookedComplete: false, pendingComplete: false, scheduledComplete: false };
  const from = isoDate(Date.parse(oldest.bookingDate ?? oldest.transactionDate!) + DAY_MS);
  return { ...cut, windows: coverage.windows.map(({ to }) => ({ from, to })) };
}

function balanceOf({ account, adjustedMinor }: AccountState, visible: readonly Row[]): Money {
  const minorOf = (amount: string) => parseDecimal(amount, account.currency)!;
  const opening = minorOf(account.balance);
  const booked = visible.filter(({ status }) => status === 'booked').reduce((total, { amount }) => total + minorOf(amount).minor, 0);
  return money(opening.minor + booked + adjustedMinor, opening.exponent, account.currency);
}

type Place = { date: string; paidOn: string; place: number; index: number; now: number };

function observe(connection: Connection, state: AccountState, row: Row, place: Place): Observation {
  const { account } = state;
  const booked = row.status === 'booked';
  const providerId = idOf(connection, state, row, place);
  const pendingId = row.linked && booked ? idOf(connection, state, { ...row, mints: row.mints - 1, status: 'pending' }, place) : undefined;
  return {
    status: row.status,
    amount: parseDecimal(row.amount, account.currency)!,
    ...(booked ? { bookingDate: place.date } : {}),
    transactionDate: place.paidOn,
    rawText: labelOf(state, row.label),
    ...(providerId === undefined ? {} : { providerId }),
    ...(pendingId === undefined ? {} : { linkPendingId: pendingId }),
    ...(row.shown ? {} : { showClientSide: false }),
  };
}

function idOf(connection: Connection, state: AccountState, row: Row, place: Place): string | undefined {
  const namespace = namespaceOf(connection, state.account.key);
  const lasting = [namespace, row.name, row.mints, state.renumbered] as const;
  switch (state.ids) {
    case 'stable':
      return nameFor(16, ...lasting);
    case 'changing':
      return nameFor(16, ...lasting, row.status);
    case 'new':
      return nameFor(16, ...lasting, place.now);
    case 'none':
      return undefined;
    case 'positional':
      return `${place.date}-${place.place}`;
    case 'counter':
      return String(place.index + 1);
    default:
      return state.ids satisfies never;
  }
}
