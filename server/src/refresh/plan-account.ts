/** One account of a plan: what its answer means for its rows and for itself. Pure. */
import type { AccountRecord } from '../accounts/accounts.ts';
import { DAY_MS, isoDate } from '../base/clock.ts';
import type { Balance, Batch, ObservedAccount, StatusCode } from '../connectors/connector.ts';
import { defaultInfo } from '../connectors/statuses.ts';
import type { FetchedAccount } from './bank.ts';
import { detect } from './detection/detect.ts';
import { trustLevel } from './detection/identifiers.ts';
import type { Breaker, Outcome, Trust } from './detection/types.ts';
import { areWhole, FLOOR_HELD_DAYS } from './detection/window.ts';
import type { PlanInput, PlannedAccount } from './plan.ts';
import { type AccountNote, noteOfCompared, noteOfFailed } from './record.ts';
import { nothingAgain, settle, trustOf } from './same-answer.ts';
import { recreated } from './transition.ts';

/** The account as it is stored, or as it begins. */
export type Found = { base: AccountRecord; isNew: boolean; rule: AccountNote['matched_by']; reappeared: boolean };

export function planAccount(input: PlanInput, fetched: FetchedAccount, found: Found): Omit<PlannedAccount, 'event'> {
  const { account: observed, asked, answer } = fetched;
  const { base, isNew, rule, reappeared } = found;
  const described = describedAs(base, observed);
  if (answer.kind === 'failed') {
    const record = { ...unanswered(input, described), status: answer.status, statusCodeInfo: answer.info };
    const note = noteOfFailed(record.id, rule, asked, answer);
    return { record, isNew, changed: true, rows: { created: [], counted: [], uncounted: [] }, outcome: null, note };
  }

  if (answer.kind === 'spared') throw new Error('an account that was not asked for has nothing to plan');
  const { batches } = answer;
  const rows = input.rows.get(base.id) ?? [];
  const again = input.settled.get(base.id) ?? null;
  const compared = { account: base, batches, since: input.since.get(base.id) ?? null, now: input.now };
  const outcome = again ? nothingAgain(base, again, batches[0]!.balance) : outcomeOf(input, base, fetched, answer);
  const owed = historyOwed(input, asked.phase, base, batches);
  // What is owed ends with time, which a comparison that found nothing does not know.
  const settled = again ? base.settled : owed ? null : settle(compared, input.refreshId, rows, outcome);
  const status = accountStatus(base.status, outcome);
  const record: AccountRecord = {
    ...described,
    currency: observed.currency,
    balance: inCurrency(outcome.balance, observed.currency),
    status,
    statusCodeInfo: defaultInfo(status),
    trust: JSON.stringify(outcome.trust),
    breaker: outcome.breaker && JSON.stringify({ rows: outcome.breaker.rows }),
    breakerReleaseTaken: outcome.breaker?.released ? base.breakerReleaseTaken : base.breakerReleasedAt,
    nextWindowFrom: owed ? null : outcome.nextWindowFrom,
    historyComplete: base.historyComplete || batches.every(({ coverage }) => coverage.historyComplete),
    settled: typeof settled === 'string' || settled === null ? settled : JSON.stringify(settled),
  };
  const { created } = outcome;
  const counted = [...outcome.updated.map(({ after }) => after), ...outcome.deleted.map(({ row }) => row)];
  const uncounted = [...outcome.held.map(({ row }) => row), ...outcome.touched];
  const same = created.length + counted.length === 0 && sameRecord(base, record);
  // What is settled is written without the trust that came with it: whether it is or not, the account learns the same.
  if (same) record.trust = base.trust;
  const changed = reappeared || !same || record.settled !== base.settled;
  const sameAs = again?.refreshId ?? null;
  const note = noteOfCompared(record.id, rule, asked, { batches, rows, outcome, balanceBefore: base.balance, sameAs });
  return { record, isNew, changed, rows: { created, counted, uncounted }, outcome, note };
}

function outcomeOf(
  input: PlanInput,
  base: AccountRecord,
  { account, asked }: FetchedAccount,
  answer: Extract<FetchedAccount['answer'], { kind: 'fetched' }>,
): Outcome {
  const outcome = detect({
    stored: input.rows.get(base.id) ?? [],
    batches: answer.batches,
    trust: trustOf(base),
    balance: { current: base.balance },
    accountType: account.type,
    breaker: breakerOf(base),
    fullRefresh: asked.phase === 'full',
    windowFrom: asked.from ?? base.nextWindowFrom ?? isoDate(input.now - FLOOR_HELD_DAYS * DAY_MS),
    now: input.now,
  });
  return input.pendingTransition === 'recreate' ? recreated(outcome) : outcome;
}

/** What waits, and whether the operator let it pass since a refresh last took his word. */
function breakerOf({ breaker, breakerReleasedAt, breakerReleaseTaken }: AccountRecord): Breaker | null {
  if (breaker === null) return null;
  const { rows } = JSON.parse(breaker) as Pick<Breaker, 'rows'>;
  return { rows, released: breakerReleasedAt !== breakerReleaseTaken };
}

/**
 * An account that did not answer a refresh of the whole history (it failed, was spared or not listed) is owed it: without a window,
 * its next refresh asks it for everything, whatever that asks of its neighbours. So is one whose rows the breaker holds, which
 * wait for a look at everything.
 */
export function unanswered({ phase }: Pick<PlanInput, 'phase'>, account: AccountRecord): AccountRecord {
  const held = account.breaker !== null && (JSON.parse(account.breaker) as Pick<Breaker, 'rows'>).rows.length > 0;
  // What was settled would be without a window for ever.
  return phase === 'full' || held ? { ...account, nextWindowFrom: null, settled: null } : account;
}

/**
 * After the recent rows of a first connection the history is still to come. Until an answer has brought it the account has no
 * window, so that whichever refresh is next asks for everything: the one that should bring it may fail, or this account in it, or
 * break off midway. For so long after the connection as a floor is held: some banks never answer with a whole list. For the same
 * reason an answer that breaks off where the whole history was wanted again, by time or by somebody, is worth one more try, not more.
 */
function historyOwed(
  { item, now }: PlanInput,
  phase: FetchedAccount['asked']['phase'],
  base: AccountRecord,
  batches: readonly Batch[],
): boolean {
  if (batches.every(({ coverage }) => coverage.historyComplete)) return false;
  if (phase === 'full' && base.nextWindowFrom !== null && batches.some(({ coverage }) => !coverage.bookedComplete)) return true;
  if (base.historyComplete) return false;
  if (phase === 'recent') return true;
  return phase === 'full' && base.nextWindowFrom === null && now < item.createdAt + FLOOR_HELD_DAYS * DAY_MS && !areWhole(batches);
}

/** A balance that is known in the old currency of its account only is not known in the new one. */
function inCurrency(balance: Balance | null, currency: string): Balance | null {
  return balance?.amount.currency === currency ? balance : null;
}

/** As the bank's list has it now, but for its currency, which changes with its balance. Seen again, it is neither absent nor deleted; what was settled must be found again. */
function describedAs(base: AccountRecord, observed: ObservedAccount): AccountRecord {
  return {
    ...base,
    identity: observed.identity ?? base.identity,
    name: observed.name,
    type: observed.type,
    iban: observed.iban,
    loanDetails: observed.loanDetails && JSON.stringify(observed.loanDetails),
    savingsDetails: observed.savingsDetails && JSON.stringify(observed.savingsDetails),
    settled: null,
    absentSince: null,
    absences: 0,
    deletedAt: null,
  };
}

/**
 * A refresh that changes nothing should write nothing: trust that only grows within its level is not worth a row. Below any
 * level it is kept: an account of a few rows would never learn whether its ids can be believed, and would write down new ones
 * for ever at a bank that mints them at each answer.
 */
function sameRecord(a: AccountRecord, b: AccountRecord): boolean {
  const rest = (record: AccountRecord) => JSON.stringify({ ...record, trust: '', settled: null });
  return sameTrust(trustOf(a), trustOf(b)) && rest(a) === rest(b);
}

function sameTrust(a: Trust, b: Trust): boolean {
  const level = trustLevel(b);
  if (level === 'unknown') return a.agreements === b.agreements && a.disagreements === b.disagreements;
  return trustLevel(a) === level;
}

/** 1009 stays until a refresh explains the balance again. */
function accountStatus(before: number, outcome: Outcome): StatusCode {
  if (outcome.incomplete1009) return 1009;
  return before === 1009 && !outcome.explained ? 1009 : 0;
}

export function newAccount(observed: ObservedAccount, id: number): AccountRecord {
  return {
    id,
    identity: observed.identity,
    name: observed.name,
    type: observed.type,
    currency: observed.currency,
    iban: observed.iban,
    isPro: observed.isPro,
    loanDetails: null,
    savingsDetails: null,
    balance: null,
    status: 0,
    statusCodeInfo: defaultInfo(0),
    trust: '{}',
    breaker: null,
    breakerReleasedAt: null,
    breakerReleaseTaken: null,
    nextWindowFrom: null,
    historyComplete: false,
    settled: null,
    absentSince: null,
    absences: 0,
    deletedAt: null,
  };
}
