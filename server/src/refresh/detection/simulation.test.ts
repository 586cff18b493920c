/**
 * A small bank with rules of its own, seen every twelve hours through a moving window, under five behaviours of ids.
 * It knows nothing of the matcher; at the end the stored rows must be its rows, none missing and none extra.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { money } from '../../base/money.ts';
import type { Observation } from '../../connectors/connector.ts';
import { BLANK, DAY_MS, HOUR_MS, liveRows, look, type Memory } from './fixtures.ts';
import { calendarDate, dayNumber } from './normalise.ts';

type Payment = {
  readonly serial: number;
  readonly label: string;
  readonly day: number;
  readonly minor: number;
  /** Null where the hold lapses. */
  readonly bookedOn: number | null;
  readonly bookedMinor: number;
  /** The day on which the bank takes the booked row back without a word; null almost always. */
  readonly withdrawnOn: number | null;
};

const SHOPS = ['CAFE DU PARC', 'BOULANGERIE', 'STATION DU PONT', 'MARCHE COUVERT', 'LIBRAIRIE', 'RESTAURANT DES HALLES'];
const PRICES = [-120, -250, -250, -250, -980, -1500, -4200];

/** A linear congruential generator: the same payments on every run. */
function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const START = dayNumber('2026-01-01');
const DAYS = 120;

function payments(seed: number): Payment[] {
  const below = generator(seed);
  const made: Payment[] = [];
  for (let day = START; day < START + DAYS; day += 1) {
    for (let count = 8 + below(16); count > 0; count -= 1) {
      const minor = PRICES[below(PRICES.length)]!;
      const bookedOn = below(12) === 0 ? null : day + below(4);
      const bookedMinor = below(15) === 0 ? Math.round(minor * 1.12) : minor;
      const withdrawnOn = bookedOn !== null && below(60) === 0 ? bookedOn + 1 + below(5) : null;
      made.push({ serial: made.length, label: SHOPS[below(SHOPS.length)]!, day, minor, bookedOn, bookedMinor, withdrawnOn });
    }
  }
  return made;
}

const LAPSED_DAYS = 6;

/** The bank's list on a day, newest first, without ids. */
function listOn(all: readonly Payment[], today: number, from: number): { readonly payment: Payment; readonly shown: Observation }[] {
  return all
    .flatMap((payment) => {
      if (payment.day > today || (payment.withdrawnOn !== null && payment.withdrawnOn <= today)) return [];
      if (payment.bookedOn !== null && payment.bookedOn <= today) {
        if (payment.bookedOn < from) return [];
        const shown: Observation = {
          status: 'booked',
          amount: money(payment.bookedMinor, 2, 'EUR'),
          bookingDate: calendarDate(payment.bookedOn),
          rawText: `${payment.label} 4711`,
        };
        return [{ payment, shown }];
      }
      if (payment.bookedOn === null && payment.day + LAPSED_DAYS < today) return [];
      const rawText = `CB ${payment.label} 4711`;
      return [
        {
          payment,
          shown: {
            status: 'pending' as const,
            amount: money(payment.minor, 2, 'EUR'),
            transactionDate: calendarDate(payment.day),
            rawText,
          },
        },
      ];
    })
    .reverse();
}

type IdOf = (payment: Payment, shown: Observation, place: number, delivery: number) => string | undefined;
const BEHAVIOURS: Record<string, IdOf> = {
  'stable ids': ({ serial }) => `t${serial}`,
  'ids that change at booking': ({ serial }, { status }) => `${status}${serial}`,
  'ids minted anew at every delivery': ({ serial }, _, __, delivery) => `${delivery}:${serial}`,
  'no ids': () => undefined,
  'ids that count the rows of the list': (_, __, place) => `${place + 1}`,
};

function run(idOf: IdOf, seed: number): { readonly memory: Memory; readonly bank: string[]; readonly rows: number } {
  const all = payments(seed);
  let memory: Memory = BLANK;
  let from = START;
  let bank: string[] = [];
  const last = 2 * (DAYS + 20);
  for (let delivery = 0; delivery <= last; delivery += 1) {
    const today = START + Math.floor(delivery / 2);
    const now = START * DAY_MS + delivery * 12 * HOUR_MS;
    const observations = listOn(all, today, from).map(({ payment, shown }, place) => {
      const providerId = idOf(payment, shown, place, delivery);
      return providerId === undefined ? shown : { ...shown, providerId };
    });
    const coverage = {
      windows: [{ from: calendarDate(from), to: calendarDate(today) }],
      bookedComplete: true,
      pendingComplete: true,
      scheduledComplete: true,
      edgeExclusive: false,
      historyComplete: false,
    };
    const { outcome, memory: next } = look(memory, { observations, coverage, balance: null }, now);
    memory = next;
    if (outcome.nextWindowFrom !== null) from = Math.max(START, dayNumber(outcome.nextWindowFrom));
    if (delivery === last)
      bank = listOn(all, today, START).map(({ shown }) =>
        describeRow(shown.status, shown.bookingDate ?? shown.transactionDate!, shown.amount.minor, shown.rawText),
      );
  }
  return { memory, bank, rows: all.length };
}

function describeRow(status: string, date: string, minor: number, text: string): string {
  return `${date} ${status} ${minor} ${text}`;
}

describe('a bank of its own mind', () => {
  for (const [name, idOf] of Object.entries(BEHAVIOURS)) {
    test(`with ${name}: no row missing, none extra`, () => {
      const { memory, bank, rows } = run(idOf, 42);
      const stored = liveRows(memory).map(({ status, date, amount, rawText }) => describeRow(status, date, amount.minor, rawText));
      assert.ok(rows > 1500, `${rows} payments`);
      assert.deepEqual(stored.sort(), bank.sort());
    });
  }
});
