/** What a connector answered, checked once before anything is made of it: rubbish must not become rows, nor delete any. */
import { DAY_MS } from '../base/clock.ts';
import { MAX_EXPONENT, type Money } from '../base/money.ts';
import { findCategory } from '../connectors/categories.ts';
import type {
  AccountList,
  AccountType,
  Authentication,
  Balance,
  Batch,
  Challenge,
  Coverage,
  Failure,
  LoanDetails,
  Observation,
  ObservedAccount,
  SavingsDetails,
} from '../connectors/connector.ts';
import { isStatusCode } from '../connectors/statuses.ts';

/** More rows than any account has in a bank's history; what detection holds in memory is bounded by it (about 1 KB for each). */
const ROWS_MAX = 200_000;
/** A user who has not answered by then has left; a refresh that waits for longer would never end. */
const CHALLENGE_LIFETIME_MAX_MS = DAY_MS;
/** What a calendar can show of milliseconds, either way from 1970. */
const MOMENT_MAX = 8.64e15;
const CURRENCY = /^[A-Z]{3}$/;
const STATUSES: readonly string[] = ['booked', 'pending', 'scheduled'];

const TYPES: Readonly<Record<AccountType, true>> = {
  checking: true,
  savings: true,
  brokerage: true,
  card: true,
  loan: true,
  shared_saving_plan: true,
  pending: true,
  life_insurance: true,
  special: true,
  unknown: true,
};

/**
 * Throws on rubbish, like all of this file without a word of what the bank says of the user. Every field that Pontage keeps or
 * reckons with is looked at: what is found out later fails after the conversation, where no status tells of it. The session
 * and the handles of accounts are the connector's own.
 */
export function checkAuthentication(answer: Authentication): void {
  switch (answer.kind) {
    case 'failed':
      checkFailure(answer);
      return;
    case 'authenticated':
      if (answer.consentExpiresAt != null && !isMoment(answer.consentExpiresAt)) throw new Error('the consent ends at no moment');
      if (answer.keep !== undefined && !isJson(answer.keep)) throw new Error('what the item is to keep is no JSON');
      return;
    case 'challenge':
      checkChallenge(answer.challenge);
      if (!isJson(answer.state)) throw new Error('the state of a challenge is no JSON');
      return;
    default:
      throw new Error('the connector answered nothing that is known');
  }
}

function checkChallenge(challenge: Challenge): void {
  const { type, label, description, lifetimeMs } = challenge;
  if (!isText(label) || !isTextOrNull(description)) throw new Error('a challenge has no label');
  if (!isDuration(lifetimeMs) || lifetimeMs > CHALLENGE_LIFETIME_MAX_MS) throw new Error('a challenge has no lifetime');
  switch (type) {
    case 'SMS':
      if (!isTruth(challenge.isNumeric)) throw new Error('a challenge does not say what is to be typed');
      return;
    case 'APP_TO_APP':
      if (!isDuration(challenge.pollMs)) throw new Error('a challenge is never looked at');
      return;
    default:
      throw new Error('a challenge has no known type');
  }
}

export function checkFailure({ status, info, retryAfterMs }: Failure): void {
  // The others say that nothing has failed.
  if (!Number.isInteger(status) || !isStatusCode(status) || status <= 0) throw new Error('a failure has no known status');
  if (info !== null && !isStorableText(info)) throw new Error('the info of a failure is no text');
  if (retryAfterMs !== undefined && !Number.isFinite(retryAfterMs)) throw new Error('a failure asks for no time');
}

export function checkAccounts({ accounts, complete }: AccountList): void {
  if (!isTruth(complete)) throw new Error('the list of accounts does not say whether it is complete');
  if (!Array.isArray(accounts)) throw new Error('the list of accounts is no list');
  for (const { identity, name, type, currency, iban, isPro, loanDetails, savingsDetails } of accounts as readonly ObservedAccount[]) {
    if (!isText(name) || !isTextOrNull(identity) || !isTextOrNull(iban)) throw new Error('an account has no name');
    if (!isText(type) || !Object.hasOwn(TYPES, type)) throw new Error('an account has no known type');
    if (!isCurrency(currency)) throw new Error('an account has no currency');
    if (!isTruth(isPro)) throw new Error('an account does not say whose it is');
    if (loanDetails !== null) checkLoan(loanDetails);
    if (savingsDetails !== null) checkSavings(savingsDetails);
  }
}

function checkLoan(details: LoanDetails): void {
  const { next_payment_date, maturity_date, opening_date, type } = details;
  if (!(isDateOrNull(next_payment_date) && isDateOrNull(maturity_date) && isDateOrNull(opening_date)))
    throw new Error('a date of a loan is no calendar date');
  const { next_payment_amount, interest_rate, borrowed_capital, repaid_capital, remaining_capital } = details;
  const figures = [next_payment_amount, interest_rate, borrowed_capital, repaid_capital, remaining_capital];
  if (!figures.every(isFigureOrNull)) throw new Error('a figure of a loan is no number');
  if (!isTextOrNull(type)) throw new Error('the type of a loan is no text');
}

function checkSavings({ opening_date, interest_rate, ceiling }: SavingsDetails): void {
  if (!isDateOrNull(opening_date)) throw new Error('a date of savings is no calendar date');
  if (!isFigureOrNull(interest_rate) || !isFigureOrNull(ceiling)) throw new Error('a figure of savings is no number');
}

/**
 * Each account once: one that the bank lists twice, as a card list and a balance list do, would be two, and neither could be
 * told from the other at the next refresh. Without an identity two that look alike may be two.
 */
export function withoutRepetitions(accounts: readonly ObservedAccount[]): readonly ObservedAccount[] {
  const seen = new Set<string>();
  return accounts.filter(({ identity, currency, name }) => {
    if (identity === null) return true;
    const key = JSON.stringify([identity, currency, name]);
    return !seen.has(key) && seen.add(key);
  });
}

/**
 * Throws on rubbish, without a word of what the rows say. The balance is in the `currency` of its account, which is the only one
 * that is stored and shown; rows may be in others.
 */
export function checkBatches(batches: readonly Batch[], currency: string): void {
  if (!Array.isArray(batches)) throw new Error('an account has no lists');
  let rows = 0;
  for (const { observations, coverage, balance } of batches as readonly Batch[]) {
    if (!Array.isArray(observations)) throw new Error('a list has no rows');
    rows += observations.length;
    if (rows > ROWS_MAX) throw new Error(`the connector answered more than ${ROWS_MAX} rows`);
    checkCoverage(coverage);
    if (balance !== null) checkBalance(balance, currency);
    for (const observation of observations as readonly Observation[]) checkObservation(observation);
  }
}

function checkCoverage(coverage: Coverage): void {
  const { windows, bookedComplete, pendingComplete, scheduledComplete, edgeExclusive, historyComplete, absenceIsFinal } = coverage;
  if (!Array.isArray(windows)) throw new Error('the coverage has no windows');
  for (const { from, to } of windows as Coverage['windows'])
    if (!isDate(from) || !isDate(to)) throw new Error('a window of the coverage has no valid dates');
  const said = [bookedComplete, pendingComplete, scheduledComplete, edgeExclusive, historyComplete, absenceIsFinal ?? false];
  if (!said.every(isTruth)) throw new Error('the coverage does not say what is complete');
}

function checkBalance({ amount, kind, at }: Balance, currency: string): void {
  if (!isMoney(amount)) throw new Error('the balance is no amount');
  if (amount.currency !== currency) throw new Error('the balance is in another currency than its account');
  if (!isStorableText(kind)) throw new Error('the kind of the balance is no text');
  if (!isDateOrNull(at)) throw new Error('the balance has no valid date');
}

/** Each field by its name: by keys of a list these looks, and those below, took an eighth of a refresh without changes. */
function checkObservation(observation: Observation): void {
  const { status, amount, rawText, bookingDate, transactionDate, valueDate, balanceAfter, categoryId, showClientSide, correction } =
    observation;
  if (!STATUSES.includes(status)) throw new Error('a row has no known status');
  if (!isMoney(amount)) throw new Error('the amount of a row is no amount');
  if (typeof rawText !== 'string') throw new Error('a row has no label');
  if (!(isDateIfStated(bookingDate) && isDateIfStated(transactionDate) && isDateIfStated(valueDate)))
    throw new Error('a date of a row is no calendar date');
  if (!holdsForTexts(observation, isText)) {
    const field = OPTIONAL_TEXTS.find((name) => observation[name] !== undefined && !isText(observation[name]));
    throw new Error(`${field} of a row is no text`);
  }
  if (balanceAfter !== undefined && !isMoney(balanceAfter)) throw new Error('the balance after a row is no amount');
  if (categoryId !== undefined && findCategory(categoryId) === null) throw new Error('a row has no known category');
  if (showClientSide !== undefined && !isTruth(showClientSide)) throw new Error('a row does not say whether it is shown');
  if (correction !== undefined && !isCorrection(correction)) throw new Error('the correction of a row corrects nothing');
}

function isCorrection({ action, providerId }: NonNullable<Observation['correction']>): boolean {
  return (action === 'replace' || action === 'delete') && isText(providerId);
}

/** Whether it holds for each of the {@link OPTIONAL_TEXTS} that are stated. */
function holdsForTexts(observation: Observation, holds: (text: string) => boolean): boolean {
  const { counterpartyName, counterpartyIban, endToEndId, providerId, linkPendingId, bankCode } = observation;
  return (
    (counterpartyName === undefined || holds(counterpartyName)) &&
    (counterpartyIban === undefined || holds(counterpartyIban)) &&
    (endToEndId === undefined || holds(endToEndId)) &&
    (providerId === undefined || holds(providerId)) &&
    (linkPendingId === undefined || holds(linkPendingId)) &&
    (bankCode === undefined || holds(bankCode))
  );
}

const OPTIONAL_TEXTS = ['counterpartyName', 'counterpartyIban', 'endToEndId', 'providerId', 'linkPendingId', 'bankCode'] as const;
const TEXTS = ['rawText', ...OPTIONAL_TEXTS] as const;

/**
 * The same rows in texts that any database keeps as they are: PostgreSQL has no NUL, and half a character of UTF-16 would be
 * stored as another one, so that the row would count as updated at every look. The same array where all can be kept.
 */
export function withStorableTexts(batches: readonly Batch[]): readonly Batch[] {
  const isStorableRow = (row: Observation) =>
    isStorable(row.rawText) && holdsForTexts(row, isStorable) && (row.correction === undefined || isStorable(row.correction.providerId));
  if (batches.every(({ observations }) => observations.every(isStorableRow))) return batches;
  return batches.map((batch) => ({
    ...batch,
    observations: batch.observations.map((row) => {
      if (isStorableRow(row)) return row;
      const texts = TEXTS.flatMap((field) => (row[field] === undefined ? [] : [[field, storable(row[field])]]));
      const { correction } = row;
      // The id of the row that it corrects is mended like that row's own.
      const corrected = correction && { correction: { ...correction, providerId: storable(correction.providerId) } };
      return { ...row, ...Object.fromEntries(texts), ...corrected } as Observation;
    }),
  }));
}

/**
 * The same rows without balances in another currency than their row's: it is the row's that is stored with it, so such a balance
 * would look like another one at every refresh, or like one of the row's currency. The same array where there is none.
 */
export function withOwnBalances(batches: readonly Batch[]): readonly Batch[] {
  const isOwn = ({ amount, balanceAfter }: Observation) => balanceAfter === undefined || balanceAfter.currency === amount.currency;
  if (batches.every(({ observations }) => observations.every(isOwn))) return batches;
  return batches.map((batch) => ({
    ...batch,
    observations: batch.observations.map((row) => {
      if (isOwn(row)) return row;
      const { balanceAfter, ...rest } = row;
      return rest;
    }),
  }));
}

export function withStorableNames(accounts: readonly ObservedAccount[]): readonly ObservedAccount[] {
  const kept = (text: string | null) => text && storable(text);
  return accounts.map((account) => ({
    ...account,
    identity: kept(account.identity),
    iban: kept(account.iban),
    name: storable(account.name),
  }));
}

function isStorable(text: string): boolean {
  return text.isWellFormed() && !text.includes('\0');
}

function storable(text: string): string {
  return isStorable(text) ? text : text.replaceAll('\0', '\uFFFD').toWellFormed();
}

function isText(value: unknown): value is string {
  return typeof value === 'string';
}

/** For words of the connector's own, which nobody mends: a bank does not write them. */
function isStorableText(value: unknown): boolean {
  return isText(value) && isStorable(value);
}

function isTruth(value: unknown): boolean {
  return typeof value === 'boolean';
}

function isFigureOrNull(value: unknown): boolean {
  return value === null || Number.isFinite(value);
}

function isDuration(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) > 0;
}

function isMoment(value: number): boolean {
  return Number.isSafeInteger(value) && Math.abs(value) <= MOMENT_MAX;
}

/** Whether it can be kept as text: not so what holds itself, a function or a BigInt. */
function isJson(value: unknown): boolean {
  try {
    return typeof JSON.stringify(value) === 'string';
  } catch {
    return false;
  }
}

function isTextOrNull(value: unknown): boolean {
  return value === null || typeof value === 'string';
}

function isMoney({ minor, exponent, currency }: Money): boolean {
  return Number.isSafeInteger(minor) && Number.isInteger(exponent) && exponent >= 0 && exponent <= MAX_EXPONENT && isCurrency(currency);
}

/** As with dates: those that were found valid. There are some 180, and 17,576 that look like one. */
const currencies = new Set<string>();

function isCurrency(code: string): boolean {
  if (currencies.has(code)) return true;
  const is = isText(code) && CURRENCY.test(code);
  if (is) currencies.add(code);
  return is;
}

const DATE = /^\d{4}-(\d{2})-(\d{2})$/;
const DAYS = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/** Rows of a bank share few dates: those that were found valid. Looking each one over took a tenth of a refresh without changes. */
const valid = new Set<string>();
/** More than a hundred years of days: what is beyond is not remembered. */
const VALID_KEPT = 40_000;

function isDateIfStated(date: string | undefined): boolean {
  return date === undefined || isDate(date);
}

function isDateOrNull(date: string | null): boolean {
  return date === null || isDate(date);
}

function isDate(date: string): boolean {
  if (valid.has(date)) return true;
  const is = isCalendarDate(date);
  if (is && valid.size < VALID_KEPT) valid.add(date);
  return is;
}

/** `YYYY-MM-DD` of a month that has this day; the leap day is not looked at by year, it sorts and counts rightly anyway. */
function isCalendarDate(date: string): boolean {
  const match = isText(date) ? DATE.exec(date) : null;
  if (match === null) return false;
  const day = Number(match[2]);
  return day >= 1 && day <= (DAYS[Number(match[1]) - 1] ?? 0);
}
