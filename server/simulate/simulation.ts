/**
 * One bank, connected when it has a history, and asked twice a day (and now and then once more) through good and bad answers and
 * one long spell of bad ones: by ours as the server asks, and what it answers is given to the simple algorithms too.
 */
import { contentHash, sameAmountNear, upsertById } from './algorithms.ts';
import {
  type Answer,
  type AnswerKind,
  BEHAVIOURS,
  type Behaviour,
  connectorOf,
  openBank,
  WINDOW_HABITS,
  type WindowHabit,
} from './bank.ts';
import { type Face, type Payment, paymentsOf } from './payments.ts';
import { type Asking, type Ours, ours } from './pontage.ts';
import { type Random, randomOf } from './random.ts';
import { type Compared, difference, lacking, openTruth, wronglyDeleted } from './truth.ts';

export type Size = { readonly days: number; readonly perDay: number };
export type Tally = {
  readonly behaviour: string;
  readonly habit: string;
  readonly seed: number;
  payments: number;
  refreshes: number;
  rowsFetched: number;
  /** Rows that are wrong after a refresh that could be held to the truth, and at the end. */
  wrongAfterRefresh: number;
  wrongAtEnd: number;
  /** Rows that no window reached although the bank had shown them whenever it was asked for their days. */
  neverAskedFor: number;
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
/** Before the item is connected: more than the recent rows that a first connection asks for at once. */
const HISTORY_DAYS = 40;
/** After the last payment: holds book, labels drift, rows dated to the end of the month come into the window. */
const QUIET_DAYS = 40;
/** Turns: once a week, as the scheduler does. */
const FULL_EVERY = 14;
/** Bad answers begin when there is a history to lose. */
const CALM_HOURS = 10 * 24;
/** After it everything is well for so long. */
const MENDED_HOURS = 36;
/** Longer than a window looks back, so that only a window that waits still reaches the days before. */
const SPELL_DAYS = { min: 16, max: 24 } as const;

/** Each behaviour meets each habit in as many seeds as there are habits. */
export function habitOf(behaviour: Behaviour, seed: number): WindowHabit {
  return WINDOW_HABITS[(BEHAVIOURS.indexOf(behaviour) + seed) % WINDOW_HABITS.length]!;
}

export async function simulate(behaviour: Behaviour, seed: number, { days, perDay }: Size): Promise<Tally> {
  const habit = habitOf(behaviour, seed);
  const payments = paymentsOf({ seed, firstDay: FIRST_DAY, days: HISTORY_DAYS + days, perDay });
  const { migratesOnDay, ...rest } = behaviour;
  const migrates = migratesOnDay === undefined ? rest : { ...rest, migratesOnDay: HISTORY_DAYS + migratesOnDay };
  const bank = openBank(payments, { behaviour: migrates, habit }, FIRST_DAY, seed);
  const random = randomOf(seed * 31 + BEHAVIOURS.indexOf(behaviour));
  const own = ours((FIRST_DAY + HISTORY_DAYS) * 24 * HOUR_MS);
  const simple = [upsertById(), contentHash(), sameAmountNear()];
  const truth = openTruth();
  const tally = emptyTally(behaviour.name, habit.name, seed, payments.length);
  const connectedAt = HISTORY_DAYS * 24;
  const lastPaymentAt = connectedAt + days * 24;
  const spell = spellWithin(random, connectedAt + CALM_HOURS, lastPaymentAt);
  let before: AnswerKind = 'complete';
  let lies = 0;
  let turns = 0;
  let lastAnswer: Answer | null = null;

  const ask = async (hour: number, kind: AnswerKind, asking: Omit<Asking, 'now'> = {}) => {
    lastAnswer = null;
    const connector = connectorOf(bank, { hour, kind }, (answer) => {
      lastAnswer = answer;
    });
    await own.refresh(connector, { ...asking, now: FIRST_DAY * 24 * HOUR_MS + hour * HOUR_MS });
    tally.refreshes += 1;
    const answer = lastAnswer as Answer | null;
    if (answer === null || kind === 'account failed') return;
    for (const algorithm of simple) algorithm.take(answer.batch);
    tally.rowsFetched += answer.batch.observations.length;
    const lost = wronglyDeleted(own, answer.truth);
    const toldTwice = kind === 'empty' && lies >= 2;
    if (toldTwice) tally.toldTwice += lost.length;
    judge(tally, own, truth.compare(answer, hour, own), toldTwice ? [] : lost, `hour ${hour}, ${kind} answer`);
  };

  const countLacking = (hour: number) => {
    const due = dueRows(payments, { habit, spell, connectedAt, hour });
    const never = lacking(own, due, migratesOnDay !== undefined);
    tally.neverAskedFor += never.length;
    if (never.length > 0) tally.firstWrong ??= `hour ${hour}: never asked for ${never[0]} (${never.length} in all)`;
  };

  // The first rows at once, then the history; either may fail, and then it is the next refreshes' to bring.
  await ask(connectedAt, random.chance(0.2) ? 'broken off' : 'complete');
  const historyKind = HISTORY_KINDS[(BEHAVIOURS.indexOf(behaviour) + seed) % HISTORY_KINDS.length]!;
  await ask(connectedAt, historyKind, { completes: true });
  for (let hour = connectedAt + 12; hour <= lastPaymentAt + QUIET_DAYS * 24; hour += 12) {
    const inSpell = spell !== null && spell.from <= hour && hour < spell.to;
    const mended = spell !== null && spell.to <= hour && hour <= spell.to + MENDED_HOURS;
    // A bank that is down says so, or is mended within a day: a lie told for longer is the truth to whoever hears it.
    // Before the spell what was wrong is put right: a page does not show it any more afterwards.
    const steady = mended || hour + 12 === spell?.from;
    const calm = hour <= connectedAt + CALM_HOURS || steady || lies >= 2;
    const kind: AnswerKind = inSpell ? random.pick(SPELL_KINDS) : calm ? 'complete' : answerKind(random, before);
    const spared = random.chance(0.02) && !steady;
    if (!spared) lies = kind === 'empty' ? lies + 1 : 0;
    await ask(hour, kind, { full: habit.weekly && turns % FULL_EVERY === 0, spared });
    if (!inSpell && random.chance(0.1)) await ask(hour + random.between(1, 5), random.chance(0.8) ? 'complete' : kind);
    // What nobody heard mends nothing.
    if (!spared) before = kind;
    turns += 1;
    // At once: the next refresh that is full for another reason would hide what no window reached.
    if (hour === connectedAt + CALM_HOURS || (mended && hour === spell.to + MENDED_HOURS)) countLacking(hour);
    if (hour === lastPaymentAt) {
      const { truth: all } = bank.ask(hour, null, 'complete');
      for (const algorithm of simple) tally.simple.push({ name: algorithm.name, ...difference(algorithm, all) });
    }
  }
  const end = lastPaymentAt + (QUIET_DAYS + 1) * 24;
  for (let look = 0; look < 2; look += 1) await ask(end + look * 12, 'complete');
  countLacking(end + 12);

  for (let look = 2; look < 5; look += 1) await ask(end + look * 12, 'complete', { full: true });
  const { truth: last, vouched } = lastAnswer as unknown as Answer;
  const { missing, extra } = difference(own, last, vouched!.from);
  tally.wrongAtEnd = missing + extra;
  return tally;
}

/** How the refresh goes that should bring the history. */
const HISTORY_KINDS: readonly AnswerKind[] = ['complete', 'broken off early', 'account failed', 'login failed'];
/** What a bank answers through a spell in which nothing is complete, and hardly anything shown. */
const SPELL_KINDS: readonly AnswerKind[] = ['broken off early', 'broken off early', 'account failed', 'login failed'];

type Spell = { readonly from: number; readonly to: number };

/** Null where there is no time for one. */
function spellWithin(random: Random, from: number, to: number): Spell | null {
  const hours = random.between(SPELL_DAYS.min, SPELL_DAYS.max) * 24;
  const latest = to - hours;
  if (latest < from) return null;
  const begins = from + random.below(Math.floor((latest - from) / 12) + 1) * 12;
  return { from: begins, to: begins + hours };
}

type Moment = { readonly habit: WindowHabit; readonly spell: Spell | null; readonly connectedAt: number; readonly hour: number };

/** Booked rows that are as they were shown last, a day ago or more, within the reach of any window: these nobody may have missed. */
function dueRows(payments: readonly Payment[], { habit, spell, connectedAt, hour: now }: Moment): Face[] {
  const historyFrom = habit.begins(null, FIRST_DAY + connectedAt / 24);
  const isPaged = habit.rowsMax !== null;
  return payments.flatMap(({ scenes }) => {
    const seen = scenes.filter((scene) => scene.hour <= now);
    const { hour, face } = seen.at(-1) ?? { hour: now, face: null };
    if (face === null || face.status !== 'booked' || hour > now - 24) return [];
    if (hour <= connectedAt) return !isPaged && face.bookingDay! > historyFrom ? [face] : [];
    // What was new while the bank was silent is not on its page any more.
    if (isPaged && spell !== null && spell.from - 24 <= hour && hour <= spell.to) return [];
    return face.bookingDay! >= FIRST_DAY + Math.floor(hour / 24) - habit.reachDays ? [face] : [];
  });
}

function emptyTally(behaviour: string, habit: string, seed: number, payments: number): Tally {
  const wrong = {
    wrongAfterRefresh: 0,
    wrongAtEnd: 0,
    neverAskedFor: 0,
    wronglyDeleted: 0,
    toldTwice: 0,
    wrongCounts: 0,
    late: 0,
    keptByBreaker: 0,
    firstWrong: null,
  };
  return { behaviour, habit, seed, payments, refreshes: 0, rowsFetched: 0, ...wrong, simple: [] };
}

/** A hiccup passes before the next answer: of a row that is missing from two answers in a row nobody can say that it exists. */
function answerKind(random: Random, before: AnswerKind): AnswerKind {
  const dice = random.below(100);
  if (dice < 77 || (before !== 'complete' && before !== 'no pending list' && before !== 'empty')) return 'complete';
  if (before === 'empty') return dice < 90 ? 'empty' : 'complete';
  if (dice < 79) return 'login failed';
  if (dice < 81) return 'account failed';
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
