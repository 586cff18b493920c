/** A bank that answers: which rows it lists at an hour, under which ids, and how well or badly the answer goes. */
import { money } from '../src/base/money.ts';
import type { Balance, Batch, Connector, Coverage, Observation, ObservedAccount } from '../src/connectors/connector.ts';
import { calendarDate, dayNumber } from '../src/refresh/detection/normalise.ts';
import type { Face, Payment } from './payments.ts';
import { type Random, randomOf } from './random.ts';

/** What a bank's ids are made of. `place` is the row's place in the list, newest first; `delivery` counts the answers. */
type Shown = {
  readonly payment: Payment;
  readonly face: Face;
  readonly place: number;
  readonly delivery: number;
  readonly counter: number;
};
export type Behaviour = {
  readonly name: string;
  readonly idOf: (shown: Shown) => string | undefined;
  /** The day (of the simulation) at which the bank changes its systems: all labels and ids are others from then on. */
  readonly migratesOnDay?: number;
  readonly statesBalance: boolean;
};

export const BEHAVIOURS: readonly Behaviour[] = [
  { name: 'stable ids', idOf: ({ payment }) => `tx-${payment.serial}`, statesBalance: true },
  { name: 'ids that change at booking', idOf: ({ payment, face }) => `${face.status[0]}${payment.serial}`, statesBalance: false },
  { name: 'new ids at every delivery', idOf: ({ payment, delivery }) => `${delivery}:${payment.serial}`, statesBalance: true },
  { name: 'no ids', idOf: () => undefined, statesBalance: false },
  { name: 'date and position as id', idOf: ({ face, place }) => `${dateOf(dayOf(face))}-${place % 100}`, statesBalance: false },
  { name: 'row numbers of the list', idOf: ({ place }) => `${place + 1}`, statesBalance: true },
  {
    name: 'counters that start again',
    idOf: ({ face, counter }) => (face.status === 'booked' ? `${counter}` : undefined),
    statesBalance: false,
  },
  { name: 'ids made of the content', idOf: ({ face }) => `${dayOf(face)}/${face.minor}/${face.label}`, statesBalance: true },
  {
    name: 'references that payments share',
    idOf: ({ payment }) => (payment.shop >= 10 ? `MD${payment.shop}` : `c${payment.serial}`),
    statesBalance: false,
  },
  { name: 'stable ids, migrated midway', idOf: ({ payment }) => `tx-${payment.serial}`, migratesOnDay: 47, statesBalance: true },
  { name: 'no ids, migrated midway', idOf: () => undefined, migratesOnDay: 47, statesBalance: true },
];

/** Every payment of the simulation is later than this. */
const EVERYTHING = 0;

/** What a bank makes of the dates that it is asked for. */
export type WindowHabit = {
  readonly name: string;
  /** The first day that it answers for; `asked` is null where everything is wanted. */
  readonly begins: (asked: number | null, today: number) => number;
  /** The most booked rows of one answer; null without a limit. */
  readonly rowsMax: number | null;
  /** Whether it lists holds and announced payments too. */
  readonly holds: boolean;
  /** Whether it may be asked for everything once a week. */
  readonly weekly: boolean;
  /** Who asks twice a day is surely shown what is dated no more than so many days before it appears. */
  readonly reachDays: number;
};

export const WINDOW_HABITS: readonly WindowHabit[] = [
  { name: 'as asked, all of it weekly', begins: (asked) => asked ?? EVERYTHING, rowsMax: null, holds: true, weekly: true, reachDays: 12 },
  // No hold keeps its windows open.
  { name: 'as asked, booked rows only', begins: (asked) => asked ?? EVERYTHING, rowsMax: null, holds: false, weekly: false, reachDays: 12 },
  {
    name: 'whole months',
    begins: (asked) => (asked === null ? EVERYTHING : firstOfMonth(asked)),
    rowsMax: null,
    holds: true,
    weekly: false,
    reachDays: 12,
  },
  { name: 'always 45 days', begins: (_, today) => today - 45, rowsMax: null, holds: true, weekly: false, reachDays: 12 },
  // A page holds five days or so: of what is booked late, under an older date, nobody is ever told.
  { name: 'pages of 90 rows', begins: (asked) => asked ?? EVERYTHING, rowsMax: 90, holds: true, weekly: false, reachDays: 0 },
];

function firstOfMonth(day: number): number {
  return day - Number(calendarDate(day).slice(8)) + 1;
}

export function dayOf({ bookingDay, transactionDay, valueDay }: Face): number {
  return bookingDay ?? transactionDay ?? valueDay!;
}

/** How an answer goes; every kind but `complete` is met now and then. */
export type AnswerKind =
  | 'complete'
  /** An error midway: some booked rows, and the connector says that it is not all. */
  | 'broken off'
  /** The same after the first few rows. */
  | 'broken off early'
  /** The list of pending rows failed. */
  | 'no pending list'
  /** The bank cut the list by count; its oldest day is partial. */
  | 'cut by count'
  /** A success with nothing in it. It says that it is complete. */
  | 'empty'
  /** A few rows are missing for this once. It says that it is complete. */
  | 'hiccup'
  /** The account cannot be shown now; or nobody is let in. */
  | 'account failed'
  | 'login failed';

export type Answer = {
  readonly kind: AnswerKind;
  readonly batch: Batch;
  /** The first day that it was willing to answer for. */
  readonly from: number;
  /** All that the bank truly has, whatever it answered. */
  readonly truth: readonly Face[];
  /** The days for which the answer can be held to the truth: none where it says nothing true. */
  readonly vouched: { readonly from: number; readonly to: number } | null;
  readonly pendingVouched: boolean;
};

/** `from` is null for everything. */
export type Bank = { readonly ask: (hour: number, from: number | null, kind: AnswerKind) => Answer };

const OPENING_MINOR = 1_000_000;
const CUT_ROWS = 60;

export function openBank(
  payments: readonly Payment[],
  { behaviour, habit }: { behaviour: Behaviour; habit: WindowHabit },
  firstDay: number,
  seed: number,
): Bank {
  const counters = countersOf(payments);
  const random = randomOf(seed ^ 0x5bd1e995);
  const others = new Map<Face, Face>();
  const relabelled = ({ serial }: Payment, face: Face): Face => {
    const other = others.get(face) ?? { ...face, label: `OPE${(serial * 7_919) % 100_003} ${face.label.length}` };
    others.set(face, other);
    return other;
  };
  let delivery = 0;
  return {
    ask: (hour, asked, kind) => {
      delivery += 1;
      const today = firstDay + Math.floor(hour / 24);
      const from = habit.begins(asked, today);
      const migrated = behaviour.migratesOnDay !== undefined && hour >= behaviour.migratesOnDay * 24;
      const truth: { payment: Payment; face: Face }[] = [];
      let balance = OPENING_MINOR;
      for (const payment of payments) {
        const seen = faceAt(payment, hour);
        if (seen === null || (seen.status !== 'booked' && !habit.holds)) continue;
        if (seen.status === 'booked') balance += seen.minor;
        truth.push({
          payment,
          face: migrated ? relabelled(payment, seen) : seen,
        });
      }
      truth.sort((a, b) => dayOf(b.face) - dayOf(a.face) || b.payment.serial - a.payment.serial);
      const inWindow = truth.filter(({ face }) => face.status !== 'booked' || face.bookingDay! >= from);
      const page = pageOf(listedOf(inWindow, kind, random, habit.rowsMax), habit.rowsMax);
      const { listed } = page;
      const isCut = page.isCut || kind === 'cut by count';
      const observations = listed.map(({ payment, face }, place) => {
        const id = behaviour.idOf({ payment, face, place, delivery, counter: counters[payment.serial]! });
        return observationOf(face, id === undefined ? undefined : migrated ? `new-${id}` : id);
      });
      return {
        kind,
        batch: {
          observations,
          coverage: coverageOf(kind, { from, to: today, isCut, everything: asked === null }),
          balance: behaviour.statesBalance ? balanceOf(balance) : null,
        },
        from,
        truth: truth.map(({ face }) => face),
        vouched: vouchedOf(kind, { from, to: today, isCut }, listed),
        pendingVouched: kind === 'complete' || kind === 'cut by count',
      };
    },
  };
}

/** The bank as the server sees it: one account, asked at `hour`, whose answer goes as `kind` says. `onAnswer` is told what it was. */
export function connectorOf(bank: Bank, { hour, kind }: { hour: number; kind: AnswerKind }, onAnswer: (answer: Answer) => void): Connector {
  const failure = { kind: 'failed' as const, status: 1003 as const, info: null };
  return {
    bank: DESCRIPTION,
    authenticate: async () => (kind === 'login failed' ? failure : { kind: 'authenticated', session: null }),
    listAccounts: async () => ({ kind: 'accounts', complete: true, accounts: [ACCOUNT] }),
    async fetchAccount({ from }) {
      const answer = bank.ask(hour, from === null ? null : dayNumber(from), kind);
      onAnswer(answer);
      return kind === 'account failed' ? failure : { kind: 'fetched', batches: [answer.batch] };
    },
  };
}

const ACCOUNT: ObservedAccount = {
  identity: 'the account',
  name: 'Current account',
  type: 'checking',
  currency: 'EUR',
  iban: null,
  isPro: false,
  loanDetails: null,
  savingsDetails: null,
  handle: 'one',
};
const DESCRIPTION: Connector['bank'] = {
  id: 1,
  name: 'Simulated bank',
  countryCode: 'FR',
  logoUrl: '',
  authenticationType: 'INTERNAL_CREDS',
  form: [],
  isHighlighted: false,
  primaryColor: null,
  secondaryColor: null,
  parentName: null,
  capabilities: [],
  channelType: [],
  displayOrder: null,
  environments: [],
  input: 'credentials',
  unattended: true,
};

export function faceAt({ scenes }: Payment, hour: number): Face | null {
  let face: Face | null = null;
  for (const scene of scenes) {
    if (scene.hour > hour) break;
    face = scene.face;
  }
  return face;
}

type Listed = { readonly payment: Payment; readonly face: Face };

function listedOf(truth: readonly Listed[], kind: AnswerKind, random: Random, rowsMax: number | null): readonly Listed[] {
  const booked = truth.filter(({ face }) => face.status === 'booked');
  const others = truth.filter(({ face }) => face.status !== 'booked');
  switch (kind) {
    case 'complete':
      return truth;
    case 'broken off':
      return booked.slice(0, random.below(booked.length + 1));
    case 'broken off early':
      return booked.slice(0, random.below(4));
    case 'no pending list':
      return booked;
    case 'cut by count':
      return [...others, ...booked.slice(0, CUT_ROWS)];
    case 'empty':
    case 'account failed':
    case 'login failed':
      return [];
    case 'hiccup': {
      // One of the last on a page would not be on the next: it would never be seen to be there.
      const among = Math.max(1, Math.min(booked.length, (rowsMax ?? Number.POSITIVE_INFINITY) / 3));
      const gone = new Set(Array.from({ length: random.between(1, 3) }, () => booked[random.below(among)]));
      return truth.filter((row) => !gone.has(row));
    }
    default:
      return kind satisfies never;
  }
}

type Days = { readonly from: number; readonly to: number; readonly isCut: boolean };

function pageOf(listed: readonly Listed[], rowsMax: number | null): { listed: readonly Listed[]; isCut: boolean } {
  const booked = listed.filter(({ face }) => face.status === 'booked');
  if (rowsMax === null || booked.length <= rowsMax) return { listed, isCut: false };
  const page = new Set(booked.slice(0, rowsMax));
  return { listed: listed.filter((row) => row.face.status !== 'booked' || page.has(row)), isCut: true };
}

function coverageOf(kind: AnswerKind, { from, to, isCut, everything }: Days & { readonly everything: boolean }): Coverage {
  const isBroken = kind === 'broken off' || kind === 'broken off early';
  const othersComplete = !isBroken && kind !== 'no pending list';
  return {
    windows: [{ from: calendarDate(from), to: calendarDate(to) }],
    bookedComplete: !isBroken,
    pendingComplete: othersComplete,
    scheduledComplete: othersComplete,
    edgeExclusive: isCut,
    historyComplete: everything && !isBroken && !isCut,
  };
}

function vouchedOf(kind: AnswerKind, { from, to, isCut }: Days, listed: readonly Listed[]): { from: number; to: number } | null {
  if (kind !== 'complete' && kind !== 'no pending list' && kind !== 'cut by count') return null;
  if (!isCut) return { from, to };
  const days = listed.filter(({ face }) => face.status === 'booked').map(({ face }) => face.bookingDay!);
  return days.length === 0 ? null : { from: Math.max(from, Math.min(...days) + 1), to };
}

/** Few days, asked for often. */
const dates = new Map<number, string>();

function dateOf(day: number): string {
  const date = dates.get(day) ?? calendarDate(day);
  dates.set(day, date);
  return date;
}

function observationOf({ status, minor, label, bookingDay, transactionDay, valueDay }: Face, id: string | undefined): Observation {
  return {
    status,
    amount: money(minor, 2, 'EUR'),
    rawText: label,
    ...(bookingDay === null ? {} : { bookingDate: dateOf(bookingDay) }),
    ...(transactionDay === null ? {} : { transactionDate: dateOf(transactionDay) }),
    ...(valueDay === null ? {} : { valueDate: dateOf(valueDay) }),
    ...(id === undefined ? {} : { providerId: id }),
  };
}

function balanceOf(minor: number): Balance {
  return { amount: money(minor, 2, 'EUR'), kind: 'booked', at: null };
}

/** The number of a booked row on its monthly statement. */
function countersOf(payments: readonly Payment[]): number[] {
  const counters = new Array<number>(payments.length).fill(0);
  const used = new Map<number, number>();
  const posted = payments.flatMap(({ serial, scenes }) => {
    const scene = scenes.find(({ face }) => face?.status === 'booked');
    return scene === undefined ? [] : [{ serial, hour: scene.hour }];
  });
  for (const { serial, hour } of posted.sort((a, b) => a.hour - b.hour || a.serial - b.serial)) {
    const month = Math.floor(hour / (24 * 30));
    const number = (used.get(month) ?? 0) + 1;
    used.set(month, number);
    counters[serial] = number;
  }
  return counters;
}
