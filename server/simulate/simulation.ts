/** One bank, asked twice a day (and now and then once more) through good and bad answers, by every algorithm at once. */
import { contentHash, type Ours, ours, sameAmountNear, upsertById } from './algorithms.ts';
import { type AnswerKind, BEHAVIOURS, type Behaviour, openBank } from './bank.ts';
import { paymentsOf } from './payments.ts';
import { type Random, randomOf } from './random.ts';
import { type Compared, difference, openTruth, wronglyDeleted } from './truth.ts';

export type Size = { readonly days: number; readonly perDay: number };
export type Tally = {
  readonly behaviour: string;
  readonly seed: number;
  payments: number;
  refreshes: number;
  rowsFetched: number;
  /** Rows that are wrong after a refresh that could be held to the truth, and at the end. */
  wrongAfterRefresh: number;
  wrongAtEnd: number;
  /** Booked rows deleted although the bank has them. */
  wronglyDeleted: number;
  /**
   * Undecidable, and not called wrong: booked rows deleted because the bank answered twice, half a day apart, that it has none,
   * and they were too few for the breaker. They keep their ids when they return.
   */
  toldTwice: number;
  /** Refreshes whose counts do not add up to the visible rows, or have no reason each. */
  wrongCounts: number;
  /**
   * Rows confirmed as gone by a third true answer instead of the second: of twins, another one was suspected first, and the
   * ids tell only now which one it is.
   */
  late: number;
  /** Row-refreshes in which a row that is gone was kept by the breaker of mass deletions: late, and said so. */
  keptByBreaker: number;
  /** What was wrong first, to be looked for with the seed. */
  firstWrong: string | null;
  /** The simple algorithms on the same answers: rows missing and extra on the day of the last payment. */
  readonly simple: { name: string; missing: number; extra: number }[];
};

/** 2026-01-01. */
const FIRST_DAY = 20_454;
const HOUR_MS = 3_600_000;
/** After the last payment: holds book, labels drift, rows dated to the end of the month come into the window. */
const QUIET_DAYS = 40;
/** Turns: once a week, as the scheduler does. */
const FULL_EVERY = 14;
/** Bad answers begin when there is a history to lose. */
const CALM_HOURS = 10 * 24;

export function simulate(behaviour: Behaviour, seed: number, { days, perDay }: Size): Tally {
  const payments = paymentsOf({ seed, firstDay: FIRST_DAY, days, perDay });
  const bank = openBank(payments, behaviour, FIRST_DAY, seed);
  const random = randomOf(seed * 31 + BEHAVIOURS.indexOf(behaviour));
  const own = ours();
  const simple = [upsertById(), contentHash(), sameAmountNear()];
  const truth = openTruth();
  const tally: Tally = emptyTally(behaviour.name, seed, payments.length);
  let before: AnswerKind = 'complete';
  let lies = 0;
  let turns = 0;

  const ask = (hour: number, kind: AnswerKind, wantFull: boolean) => {
    const from = wantFull ? null : own.from();
    const answer = bank.ask(hour, from ?? FIRST_DAY - 40, kind);
    const now = FIRST_DAY * 24 * HOUR_MS + hour * HOUR_MS;
    own.take(answer.batch, now, from === null);
    for (const algorithm of simple) algorithm.take(answer.batch, now, from === null);
    tally.refreshes += 1;
    tally.rowsFetched += answer.batch.observations.length;
    const lost = wronglyDeleted(own, answer.truth);
    const toldTwice = kind === 'empty' && lies >= 2;
    if (toldTwice) tally.toldTwice += lost.length;
    judge(tally, own, truth.compare(answer, hour, own), toldTwice ? [] : lost, `hour ${hour}, ${kind} answer`);
  };

  for (let hour = 0; hour <= (days + QUIET_DAYS) * 24; hour += 12) {
    // A bank that is down says so, or is mended within a day: a lie told for longer is the truth to whoever hears it.
    const kind: AnswerKind = hour < CALM_HOURS || lies >= 2 ? 'complete' : answerKind(random, before);
    lies = kind === 'empty' ? lies + 1 : 0;
    ask(hour, kind, turns % FULL_EVERY === 0 || own.wantsFullRefresh());
    if (random.chance(0.1)) ask(hour + random.between(1, 5), random.chance(0.8) ? 'complete' : kind, false);
    before = kind;
    turns += 1;
    if (hour === days * 24) {
      const { truth: all } = bank.ask(hour, 0, 'complete');
      for (const algorithm of simple) tally.simple.push({ name: algorithm.name, ...difference(algorithm, all) });
    }
  }
  const end = (days + QUIET_DAYS + 1) * 24;
  for (let look = 0; look < 3; look += 1) ask(end + look * 12, 'complete', true);
  const last = bank.ask(end + 36, 0, 'complete').truth;
  const { missing, extra } = difference(own, last);
  tally.wrongAtEnd = missing + extra;
  return tally;
}

function emptyTally(behaviour: string, seed: number, payments: number): Tally {
  const wrong = {
    wrongAfterRefresh: 0,
    wrongAtEnd: 0,
    wronglyDeleted: 0,
    toldTwice: 0,
    wrongCounts: 0,
    late: 0,
    keptByBreaker: 0,
    firstWrong: null,
  };
  return { behaviour, seed, payments, refreshes: 0, rowsFetched: 0, ...wrong, simple: [] };
}

/** A hiccup passes before the next answer: of a row that is missing from two answers in a row nobody can say that it exists. */
function answerKind(random: Random, before: AnswerKind): AnswerKind {
  const dice = random.below(100);
  if (dice < 80 || (before !== 'complete' && before !== 'no pending list' && before !== 'empty')) return 'complete';
  if (before === 'empty') return dice < 90 ? 'empty' : 'complete';
  if (dice < 84) return 'broken off';
  if (dice < 88) return 'no pending list';
  if (dice < 92) return 'cut by count';
  return dice < 95 ? 'empty' : 'hiccup';
}

function judge(tally: Tally, own: Ours, { missing, extra, late, keptByBreaker }: Compared, lost: readonly string[], when: string): void {
  tally.wrongAfterRefresh += missing.length + extra.length;
  tally.late += late;
  tally.keptByBreaker += keptByBreaker;
  tally.wronglyDeleted += lost.length;
  if (!own.countsHold()) tally.wrongCounts += 1;
  const wrong = [
    ...missing.map((row) => `missing ${row}`),
    ...extra.map((row) => `extra ${row}`),
    ...lost.map((row) => `deleted ${row}`),
    ...(own.countsHold() ? [] : ['counts do not add up']),
  ];
  if (wrong.length > 0) tally.firstWrong ??= `${when}: ${wrong[0]} (${wrong.length} in all)`;
}
