/**
 * The matcher alone: rows per second of an unchanged look, beside the least that any matcher must do (one `Map` of the stored
 * rows by their content, one lookup for each fetched row), and the cases in which a careless matcher turns quadratic.
 */
import { money } from '../src/base/money.ts';
import type { Batch, Observation } from '../src/connectors/connector.ts';
import { detect } from '../src/refresh/detection/detect.ts';
import { calendarDate, dayNumber } from '../src/refresh/detection/normalise.ts';
import type { Outcome, StoredTransaction, Trust } from '../src/refresh/detection/types.ts';
import { type Figure, printFigures } from './figures.ts';

const NOW = 1_774_008_000_000;
const LAST_DAY = dayNumber('2026-03-20');
const RATE_MIN_PER_S = 500_000;
/** Both lose rate from 1,000 to 100,000 rows, because they leave the caches; a matcher that is linear loses no more than the `Map`. */
const LINEAR_SHARE_MIN = 0.7;
const CORNER_ROWS = 10_000;
const CORNER_LIMIT_MS = 100;
const STABLE: Trust = { agreements: 500, disagreements: 0 };
const UNSTABLE: Trust = { agreements: 0, disagreements: 500 };
const UNKNOWN: Trust = { agreements: 0, disagreements: 0 };

type Case = { readonly stored: readonly StoredTransaction[]; readonly shown: readonly Observation[]; readonly trust: Trust };

export async function runMatcherBench({ short }: { short: boolean }): Promise<Figure[]> {
  const rounds = short ? 5 : 15;
  const sizes = [150, 1_000, 10_000, 100_000];
  warmUp();
  const figures = sizes.map((size) => unchangedFigure(size, Math.min(2_000, Math.ceil((rounds * 20_000) / size) + 2)));
  const [, thousand, , most] = figures;
  const kept = { ours: most!.value / thousand!.value, ofMap: most!.peer! / thousand!.peer! };
  figures.push({
    name: 'matcher: rate at 100,000 rows over that at 1,000',
    value: kept.ours,
    unit: '',
    peer: kept.ofMap,
    ratio: kept.ours / kept.ofMap,
    limit: { atLeast: LINEAR_SHARE_MIN },
  });
  for (const [name, made] of Object.entries(others(100_000)))
    figures.push({ name: `matcher: 100,000 rows, ${name}`, ...rateOf(made, short ? 3 : 5), limit: { atLeast: RATE_MIN_PER_S } });
  for (const [name, made] of Object.entries(corners(CORNER_ROWS))) {
    const value = quickest(times(made, short ? 5 : 9));
    figures.push({ name: `matcher: 10,000 rows, ${name}`, value, unit: 'ms', limit: { below: CORNER_LIMIT_MS } });
  }
  return figures;
}

/** The code is compiled and the types of its rows are known, as in a server that runs. */
function warmUp(): void {
  for (let round = 0; round < 100; round += 1) for (const made of Object.values(corners(100))) run(made);
  for (let round = 0; round < 300; round += 1) run(unchanged(150));
}

function unchangedFigure(size: number, rounds: number): Figure {
  const { value, unit } = rateOf(unchanged(size), rounds);
  const made = unchanged(size);
  const peer = size / (quickest(Array.from({ length: rounds }, () => elapsed(() => hashJoin(made)))) / 1_000);
  return { name: `matcher: ${size.toLocaleString('en')} unchanged rows`, value, unit, peer, limit: { atLeast: RATE_MIN_PER_S } };
}

function rateOf(made: Case, rounds: number): { value: number; unit: string } {
  return { value: made.shown.length / (quickest(times(made, rounds)) / 1_000), unit: 'rows/s' };
}

function times(made: Case, rounds: number): number[] {
  return Array.from({ length: rounds }, () => elapsed(() => run(made)));
}

/** The same work on the same rows: what takes longer in one round than in another is the machine's other work. */
function quickest(durationsMs: readonly number[]): number {
  return Math.min(...durationsMs);
}

function elapsed(work: () => unknown): number {
  const started = performance.now();
  work();
  return performance.now() - started;
}

function run({ stored, shown, trust }: Case): Outcome {
  const coverage = { bookedComplete: true, pendingComplete: true, scheduledComplete: true, edgeExclusive: false, historyComplete: true };
  const batch: Batch = {
    observations: shown,
    coverage: { ...coverage, windows: [{ from: '1990-01-01', to: '2026-03-20' }] },
    balance: null,
  };
  const account = { accountType: 'checking', balance: { current: null }, breaker: null, fullRefresh: false, windowFrom: null } as const;
  return detect({ stored, batches: [batch], trust, now: NOW, ...account });
}

/** What no matcher can do without: every stored row found by its content, as often as it is there. */
function hashJoin({ stored, shown }: Case): number {
  const counts = new Map<string, number>();
  for (const { status, amount, date, rawText } of stored) {
    const key = `${status} ${amount.minor} ${amount.currency} ${date} ${rawText}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  let missing = 0;
  for (const { status, amount, bookingDate, transactionDate, rawText } of shown) {
    const key = `${status} ${amount.minor} ${amount.currency} ${bookingDate ?? transactionDate} ${rawText}`;
    const count = counts.get(key) ?? 0;
    if (count === 0) missing += 1;
    else counts.set(key, count - 1);
  }
  return missing;
}

/** Rows of a busy account: about thirty a day, 5 % of them twins, ids of the bank, newest first. */
function observed(at: number, size: number): Observation {
  const serial = size - at - (at % 20 === 19 ? 1 : 0);
  return {
    status: 'booked',
    amount: money(-(100 + ((serial * 7_919) % 20_000)), 2, 'EUR'),
    bookingDate: calendarDate(LAST_DAY - Math.floor((size - serial) / 30)),
    rawText: `PAIEMENT CB MAGASIN ${serial % 300} PARIS 4711`,
    providerId: `tx-${size - at}-8c1f`,
  };
}

function unchanged(size: number): Case {
  const shown = Array.from({ length: size }, (_, at) => observed(at, size));
  return { stored: stored(shown), shown, trust: STABLE };
}

/** As storage gives them: ids in the order of arrival, texts of their own. */
function stored(shown: readonly Observation[]): StoredTransaction[] {
  const { created } = run({ stored: [], shown, trust: UNKNOWN });
  const rows = created.map(({ row }, at) => ({ ...row, id: at + 1 }));
  return JSON.parse(JSON.stringify(rows)) as StoredTransaction[];
}

function others(size: number): Record<string, Case> {
  const { stored, shown } = unchanged(size);
  const bare = shown.map(({ providerId: _, ...rest }) => rest);
  return {
    'all new': { stored: [], shown, trust: UNKNOWN },
    '5 % of them new': { stored: stored.filter(({ id }) => id % 20 !== 0), shown, trust: STABLE },
    'without ids': { stored: stored.map((row) => ({ ...row, providerId: null })), shown: bare, trust: UNKNOWN },
    'ids minted anew': { stored, shown: shown.map((row) => ({ ...row, providerId: `n${row.providerId}` })), trust: UNSTABLE },
  };
}

function corners(size: number): Record<string, Case> {
  const at = (index: number) => calendarDate(LAST_DAY - (index % 300));
  const make = (row: (index: number) => Observation) => Array.from({ length: size }, (_, index) => row(index));
  const booked = (minor: number, bookingDate: string, rawText: string): Observation => {
    return { status: 'booked', amount: money(minor, 2, 'EUR'), bookingDate, rawText };
  };
  const hold = (minor: number, transactionDate: string, rawText: string): Observation => {
    return { status: 'pending', amount: money(minor, 2, 'EUR'), transactionDate, rawText };
  };
  const pair = (before: (index: number) => Observation, now: (index: number) => Observation): Case => {
    return { stored: stored(make(before)), shown: make(now), trust: UNKNOWN };
  };
  const twin = () => booked(-250, '2026-03-20', 'CAFE');
  const today = '2026-03-20';
  return {
    identical: pair(twin, twin),
    'identical, all on the next day': pair(() => booked(-250, '2026-03-19', 'CAFE'), twin),
    relabelled: pair(
      (index) => booked(-100 - index, at(index), `ANCIEN ${index}`),
      (index) => booked(-100 - index, at(index), `NEUF LIBELLE ${index * 7}`),
    ),
    'one amount and day, labels unchanged': pair(
      (index) => booked(-250, today, `ABONNEMENT NUMERO ${index}`),
      (index) => booked(-250, today, `ABONNEMENT NUMERO ${index}`),
    ),
    'one amount and day, labels all different': pair(
      (index) => booked(-250, today, `A${index}`),
      (index) => booked(-250, today, `B${index}`),
    ),
    'one amount, labels drifted': pair(
      (index) => booked(-250, at(index), `PAIEMENT CB MAGASIN ${index}`),
      (index) => booked(-250, at(index), `CB MAGASIN ${index}`),
    ),
    'holds booked with other amounts': pair(
      (index) => hold(-1_000 - index, at(index), `RESTAURANT ${index}`),
      (index) => booked(-1_100 - index, at(index), `RESTAURANT ${index}`),
    ),
    'holds of one shop booked with other amounts': pair(
      (index) => hold(-1_000 - (index % 50), today, 'RESTAURANT LE PARC'),
      (index) => booked(-1_060 - (index % 50), today, 'RESTAURANT LE PARC'),
    ),
    'one amount and label, every date moved': pair(
      (index) => booked(-250, calendarDate(LAST_DAY - 4 * index), 'LOYER'),
      (index) => booked(-250, calendarDate(LAST_DAY - 4 * index - 2), 'LOYER'),
    ),
    'all gone, others come': pair(
      (index) => booked(-100 - index, at(index), `ANCIEN ${index}`),
      (index) => booked(-30_000 - index, at(index), `NEUF ${index}`),
    ),
  };
}

if (import.meta.main) printFigures(await runMatcherBench({ short: process.argv.includes('--short') }));
