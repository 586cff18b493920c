/** What a connector answered, checked once before anything is made of it: rubbish must not become rows, nor delete any. */
import { MAX_EXPONENT, type Money } from '../base/money.ts';
import type { AccountList, AccountType, Authentication, Batch, Failure, Observation, ObservedAccount } from '../connectors/connector.ts';
import { isStatusCode } from '../connectors/statuses.ts';

/** More rows than any account has in a bank's history; what detection holds in memory is bounded by it (about 1 KB for each). */
const ROWS_MAX = 200_000;
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

/** Throws on rubbish, like all of this file without a word of what the bank says of the user. */
export function checkAuthentication(answer: Authentication): void {
  switch (answer.kind) {
    case 'failed':
      checkFailure(answer);
      return;
    case 'authenticated':
      if (answer.consentExpiresAt != null && !Number.isSafeInteger(answer.consentExpiresAt))
        throw new Error('the consent ends at no moment');
      return;
    case 'challenge':
      if (!(answer.challenge.lifetimeMs > 0)) throw new Error('a challenge has no lifetime');
      if (answer.challenge.type === 'APP_TO_APP' && !(answer.challenge.pollMs > 0)) throw new Error('a challenge is never looked at');
      return;
    default:
      throw new Error('the connector answered nothing that is known');
  }
}

export function checkFailure({ status, retryAfterMs }: Failure): void {
  // The others say that nothing has failed.
  if (!isStatusCode(status) || status <= 0) throw new Error('a failure has no known status');
  if (retryAfterMs !== undefined && !Number.isFinite(retryAfterMs)) throw new Error('a failure asks for no time');
}

export function checkAccounts({ accounts, complete }: AccountList): void {
  if (typeof complete !== 'boolean') throw new Error('the list of accounts does not say whether it is complete');
  for (const { identity, name, type, currency, iban } of accounts) {
    if (typeof name !== 'string' || !isTextOrNull(identity) || !isTextOrNull(iban)) throw new Error('an account has no name');
    if (!Object.hasOwn(TYPES, type)) throw new Error('an account has no known type');
    if (!CURRENCY.test(currency)) throw new Error('an account has no currency');
  }
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

/** Throws on rubbish, without a word of what the rows say. */
export function checkBatches(batches: readonly Batch[]): void {
  let rows = 0;
  for (const { observations, coverage, balance } of batches) {
    rows += observations.length;
    if (rows > ROWS_MAX) throw new Error(`the connector answered more than ${ROWS_MAX} rows`);
    for (const { from, to } of coverage.windows)
      if (!isDate(from) || !isDate(to)) throw new Error('a window of the coverage has no valid dates');
    if (balance !== null && !isMoney(balance.amount)) throw new Error('the balance is no amount');
    if (balance !== null && balance.at !== null && !isDate(balance.at)) throw new Error('the balance has no valid date');
    for (const observation of observations) checkObservation(observation);
  }
}

/** Each field by its name: by keys of a list these looks, and those below, took an eighth of a refresh without changes. */
function checkObservation(observation: Observation): void {
  const { status, amount, rawText, bookingDate, transactionDate, valueDate, balanceAfter } = observation;
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
  const isStorableRow = (row: Observation) => isStorable(row.rawText) && holdsForTexts(row, isStorable);
  if (batches.every(({ observations }) => observations.every(isStorableRow))) return batches;
  return batches.map((batch) => ({
    ...batch,
    observations: batch.observations.map((row) => {
      if (isStorableRow(row)) return row;
      const texts = TEXTS.flatMap((field) => (row[field] === undefined ? [] : [[field, storable(row[field])]]));
      return { ...row, ...Object.fromEntries(texts) } as Observation;
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

function isText(value: unknown): boolean {
  return typeof value === 'string';
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
  const is = CURRENCY.test(code);
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

function isDate(date: string): boolean {
  if (valid.has(date)) return true;
  const is = isCalendarDate(date);
  if (is && valid.size < VALID_KEPT) valid.add(date);
  return is;
}

/** `YYYY-MM-DD` of a month that has this day; the leap day is not looked at by year, it sorts and counts rightly anyway. */
function isCalendarDate(date: string): boolean {
  const match = DATE.exec(date);
  if (match === null) return false;
  const day = Number(match[2]);
  return day >= 1 && day <= (DAYS[Number(match[1]) - 1] ?? 0);
}
