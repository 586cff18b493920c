/** A bank that answers: which rows it lists at an hour, under which ids, and how well or badly the answer goes. */
import { money } from '../src/base/money.ts';
import type { Balance, Batch, Coverage, Observation } from '../src/connectors/connector.ts';
import { calendarDate } from '../src/refresh/detection/normalise.ts';
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
  { name: 'date and position as id', idOf: ({ face, place }) => `${calendarDate(dayOf(face))}-${place % 100}`, statesBalance: false },
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

export function dayOf({ bookingDay, transactionDay, valueDay }: Face): number {
  return bookingDay ?? transactionDay ?? valueDay!;
}

/** How an answer goes; every kind but `complete` is met now and then. */
export type AnswerKind =
  | 'complete'
  /** An error midway: some booked rows, and the connector says that it is not all. */
  | 'broken off'
  /** The list of pending rows failed. */
  | 'no pending list'
  /** The bank cut the list by count; its oldest day is partial. */
  | 'cut by count'
  /** A success with nothing in it. It says that it is complete. */
  | 'empty'
  /** A few rows are missing for this once. It says that it is complete. */
  | 'hiccup';

export type Answer = {
  readonly kind: AnswerKind;
  readonly batch: Batch;
  /** What the bank truly has in the window, whatever it answered. */
  readonly truth: readonly Face[];
  /** The days for which the answer can be held to the truth: none where it says nothing true. */
  readonly vouched: { readonly from: number; readonly to: number } | null;
  readonly pendingVouched: boolean;
};

export type Bank = { readonly ask: (hour: number, from: number, kind: AnswerKind) => Answer };

const OPENING_MINOR = 1_000_000;
const CUT_ROWS = 60;

export function openBank(payments: readonly Payment[], behaviour: Behaviour, firstDay: number, seed: number): Bank {
  const counters = countersOf(payments);
  const random = randomOf(seed ^ 0x5bd1e995);
  let delivery = 0;
  return {
    ask: (hour, from, kind) => {
      delivery += 1;
      const today = firstDay + Math.floor(hour / 24);
      const migrated = behaviour.migratesOnDay !== undefined && hour >= behaviour.migratesOnDay * 24;
      const truth: { payment: Payment; face: Face }[] = [];
      let balance = OPENING_MINOR;
      for (const payment of payments) {
        const seen = faceAt(payment, hour);
        if (seen === null) continue;
        if (seen.status === 'booked') balance += seen.minor;
        if (seen.status === 'booked' && seen.bookingDay! < from) continue;
        truth.push({
          payment,
          face: migrated ? { ...seen, label: `OPE${(payment.serial * 7_919) % 100_003} ${seen.label.length}` } : seen,
        });
      }
      truth.sort((a, b) => dayOf(b.face) - dayOf(a.face) || b.payment.serial - a.payment.serial);
      const listed = listedOf(truth, kind, random);
      const observations = listed.map(({ payment, face }, place) => {
        const id = behaviour.idOf({ payment, face, place, delivery, counter: counters[payment.serial]! });
        return observationOf(face, id === undefined ? undefined : migrated ? `new-${id}` : id);
      });
      return {
        kind,
        batch: { observations, coverage: coverageOf(kind, from, today), balance: behaviour.statesBalance ? balanceOf(balance) : null },
        truth: truth.map(({ face }) => face),
        vouched: vouchedOf(kind, from, today, listed),
        pendingVouched: kind === 'complete' || kind === 'cut by count',
      };
    },
  };
}

export function faceAt({ scenes }: Payment, hour: number): Face | null {
  let face: Face | null = null;
  for (const scene of scenes) {
    if (scene.hour > hour) break;
    face = scene.face;
  }
  return face;
}

type Listed = { readonly payment: Payment; readonly face: Face };

function listedOf(truth: readonly Listed[], kind: AnswerKind, random: Random): readonly Listed[] {
  const booked = truth.filter(({ face }) => face.status === 'booked');
  const others = truth.filter(({ face }) => face.status !== 'booked');
  switch (kind) {
    case 'complete':
      return truth;
    case 'broken off':
      return booked.slice(0, random.below(booked.length + 1));
    case 'no pending list':
      return booked;
    case 'cut by count':
      return [...others, ...booked.slice(0, CUT_ROWS)];
    case 'empty':
      return [];
    case 'hiccup': {
      const gone = new Set(Array.from({ length: random.between(1, 3) }, () => booked[random.below(Math.max(1, booked.length))]));
      return truth.filter((row) => !gone.has(row));
    }
    default:
      return kind satisfies never;
  }
}

function coverageOf(kind: AnswerKind, from: number, today: number): Coverage {
  const othersComplete = kind !== 'broken off' && kind !== 'no pending list';
  return {
    windows: [{ from: calendarDate(from), to: calendarDate(today) }],
    bookedComplete: kind !== 'broken off',
    pendingComplete: othersComplete,
    scheduledComplete: othersComplete,
    edgeExclusive: kind === 'cut by count',
    historyComplete: false,
  };
}

function vouchedOf(kind: AnswerKind, from: number, to: number, listed: readonly Listed[]): { from: number; to: number } | null {
  if (kind === 'complete' || kind === 'no pending list') return { from, to };
  if (kind !== 'cut by count') return null;
  const days = listed.filter(({ face }) => face.status === 'booked').map(({ face }) => face.bookingDay!);
  return days.length === 0 ? null : { from: Math.max(from, Math.min(...days) + 1), to };
}

function observationOf({ status, minor, label, bookingDay, transactionDay, valueDay }: Face, id: string | undefined): Observation {
  return {
    status,
    amount: money(minor, 2, 'EUR'),
    rawText: label,
    ...(bookingDay === null ? {} : { bookingDate: calendarDate(bookingDay) }),
    ...(transactionDay === null ? {} : { transactionDate: calendarDate(transactionDay) }),
    ...(valueDay === null ? {} : { valueDate: calendarDate(valueDay) }),
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
