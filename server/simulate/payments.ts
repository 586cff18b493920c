/**
 * What happens on an account, written from how banks behave: each payment has a script of what the bank shows of it and from
 * when on. Nothing here knows how changes are detected.
 */
import { type Random, randomOf } from './random.ts';

/** Days are counted from 1970-01-01. Amounts are cents of euro. */
export type Face = {
  readonly status: 'booked' | 'pending' | 'scheduled';
  readonly minor: number;
  readonly label: string;
  readonly bookingDay: number | null;
  readonly transactionDay: number | null;
  readonly valueDay: number | null;
};

/** `hour` counts from the first delivery; a null face means that the bank shows the payment no more. */
export type Scene = { readonly hour: number; readonly face: Face | null };
export type Payment = { readonly serial: number; readonly shop: number; readonly scenes: readonly Scene[] };

export type Life = {
  readonly seed: number;
  readonly firstDay: number;
  readonly days: number;
  readonly perDay: number;
};

const SHOPS = [
  'CAFE DU PARC',
  'BOULANGERIE MARTIN',
  'STATION DU PONT',
  'MARCHE COUVERT',
  'LIBRAIRIE DES ARTS',
  'RESTAURANT DES HALLES',
  'PHARMACIE CENTRALE',
  'SUPERMARCHE NORD',
];
const CITIES = ['PARIS', 'LYON', 'NANTES', 'LILLE'];
const DEBTORS = ['EDF CLIENTS', 'FREE MOBILE', 'MUTUELLE SANTE', 'ASSURANCE HABITATION'];
/** Coffee has one price: most of the likeness between payments comes from it. */
const PRICES = [250, 250, 250, 120, 980, 1_500, 4_200];
const RESTAURANT = 5;
const FUEL = 2;

/** How often, as shares of the payments that it can happen to. */
const SHARES = {
  twin: 0.12,
  withoutHold: 0.3,
  lapsed: 0.06,
  tip: 0.3,
  exchanged: 0.03,
  backDated: 0.04,
  longBackDated: 0.004,
  deferred: 0.03,
  announced: 0.25,
  withdrawn: 0.015,
  reversed: 0.01,
  dateShifted: 0.03,
  labelDrifted: 0.05,
  labelReplaced: 0.008,
  amountCorrected: 0.004,
  valueDateLater: 0.03,
} as const;

/** Banks change things at the two times of the day at which they post. */
const POSTING_HOURS = 12;

export function paymentsOf({ seed, firstDay, days, perDay }: Life): Payment[] {
  const random = randomOf(seed);
  const made: Payment[] = [];
  const add = (shop: number, scenes: readonly Scene[]) => made.push({ serial: made.length, shop, scenes });
  for (let day = 0; day < days; day += 1) {
    for (let count = random.between(Math.ceil(perDay / 2), Math.floor(perDay * 1.5)); count > 0; count -= 1) {
      const life = random.chance(0.7) ? cardPayment(random, firstDay, day) : transfer(random, firstDay, day);
      const copies = random.chance(SHARES.twin) ? random.between(2, 3) : 1;
      for (let copy = 0; copy < copies; copy += 1) {
        const scenes = afterwards(random, life.scenes);
        add(life.shop, scenes);
        const booked = scenes.find(({ face }) => face?.status === 'booked');
        if (booked !== undefined && random.chance(SHARES.reversed)) add(life.shop, [reversal(random, booked, firstDay)]);
      }
    }
    if (day % 30 === 4) add(90, [{ hour: day * 24, face: booked(firstDay + day, 215_000, 'VIR SALAIRE ACME SAS') }]);
    if (day % 30 === 5) add(91, [{ hour: day * 24, face: booked(firstDay + day, -85_000, 'VIR PERMANENT LOYER') }]);
  }
  return made;
}

function booked(bookingDay: number, minor: number, label: string, transactionDay: number | null = null): Face {
  return { status: 'booked', minor, label, bookingDay, transactionDay, valueDay: null };
}

type Begun = { readonly shop: number; readonly scenes: readonly Scene[] };

/** Held at the shop, booked up to four days later under a longer label; some holds lapse, some amounts move. */
function cardPayment(random: Random, firstDay: number, day: number): Begun {
  const shop = random.below(SHOPS.length);
  const price = random.pick(PRICES) + (random.chance(0.3) ? random.below(400) : 0);
  const hour = day * 24 + random.pick([0, POSTING_HOURS]);
  const today = firstDay + day;
  const minor = -(shop === FUEL ? 10_000 : price);
  const label = `CB ${SHOPS[shop]}`;
  const hold: Scene = { hour, face: { status: 'pending', minor, label, bookingDay: null, transactionDay: today, valueDay: null } };
  if (random.chance(SHARES.lapsed)) return { shop, scenes: [hold, { hour: hour + 24 * random.between(3, 7), face: null }] };
  const later = hour + POSTING_HOURS * random.between(0, 8);
  const bookingDay = firstDay + Math.floor(later / 24);
  const long = `PAIEMENT CB ${SHOPS[shop]} ${CITIES[shop % CITIES.length]} 4711`;
  const face = booked(bookingDay, amountAtBooking(random, shop, minor), random.chance(0.8) ? long : label, today);
  if (random.chance(SHARES.deferred)) {
    // A card that is debited at the end of the month: booked under a date to come.
    return { shop, scenes: [{ hour: later, face: { ...face, bookingDay: today + 30 - (today % 30) } }] };
  }
  return { shop, scenes: random.chance(SHARES.withoutHold) || later === hour ? [{ hour: later, face }] : [hold, { hour: later, face }] };
}

function amountAtBooking(random: Random, shop: number, held: number): number {
  if (shop === FUEL) return -random.between(2_500, 9_900);
  if (shop === RESTAURANT && random.chance(SHARES.tip)) return Math.round(held * (1 + random.between(5, 20) / 100));
  return random.chance(SHARES.exchanged) ? Math.round(held * (1 + random.between(-3, 3) / 100)) : held;
}

/** Booked at once, announced before, or booked late under an earlier date. */
function transfer(random: Random, firstDay: number, day: number): Begun {
  const debtor = random.below(DEBTORS.length);
  const minor = random.chance(0.2) ? random.between(1_000, 90_000) : -random.pick([1_999, 2_999, 5_000, random.between(500, 20_000)]);
  const hour = day * 24 + random.pick([0, POSTING_HOURS]);
  const label = `PRLV SEPA ${DEBTORS[debtor]} ${random.chance(0.3) ? `REF ${random.between(1_000, 9_999)}` : ''}`.trim();
  const face = booked(firstDay + day, minor, label);
  const shop = 10 + debtor;
  if (random.chance(SHARES.longBackDated)) return { shop, scenes: [{ hour: hour + 24 * random.between(16, 35), face }] };
  if (random.chance(SHARES.backDated)) return { shop, scenes: [{ hour: hour + 24 * random.between(2, 10), face }] };
  if (random.chance(SHARES.announced)) {
    const announcedHour = Math.max(0, hour - 24 * random.between(1, 5));
    const announced: Face = { ...face, status: 'scheduled', bookingDay: null, valueDay: firstDay + day };
    if (announcedHour < hour)
      return {
        shop,
        scenes: [
          { hour: announcedHour, face: announced },
          { hour, face },
        ],
      };
  }
  return { shop, scenes: [{ hour, face }] };
}

/** What banks still do to a row that is booked. */
function afterwards(random: Random, scenes: readonly Scene[]): readonly Scene[] {
  const last = scenes.at(-1)!;
  const { face } = last;
  if (face === null || face.status !== 'booked') return scenes;
  const at = (halfDays: number) => last.hour + POSTING_HOURS * random.between(1, halfDays);
  const change = (hour: number, changed: Partial<Face>): readonly Scene[] => [...scenes, { hour, face: { ...face, ...changed } }];
  if (random.chance(SHARES.withdrawn)) return [...scenes, { hour: at(8), face: null }];
  if (random.chance(SHARES.dateShifted)) return change(at(6), { bookingDay: face.bookingDay! + random.pick([-3, -2, -1, 1, 2, 3]) });
  if (random.chance(SHARES.labelDrifted)) {
    return change(at(16), { label: random.chance(0.5) ? face.label.replace('PAIEMENT CB ', '') : `${face.label} FRANCE` });
  }
  if (random.chance(SHARES.labelReplaced)) return change(at(10), { label: `OPERATION ${random.between(10_000, 99_999)}` });
  if (random.chance(SHARES.amountCorrected)) return change(at(6), { minor: face.minor - random.between(1, 500) });
  if (random.chance(SHARES.valueDateLater)) return change(at(4), { valueDay: face.bookingDay! + 1 });
  return scenes;
}

function reversal(random: Random, { hour, face }: Scene, firstDay: number): Scene {
  const later = hour + POSTING_HOURS * random.between(2, 12);
  return { hour: later, face: booked(firstDay + Math.floor(later / 24), -face!.minor, `ANNULATION ${face!.label}`) };
}
