/**
 * CAMT.053 (ISO 20022 `BankToCustomerStatement`), every version from 001.02 to 001.13: elements are found by their local
 * names, and both spellings are tried where a version moved one.
 */
import type { Money } from '../../base/money.ts';
import type { AccountType, Balance, CalendarDate, Observation, ObservedAccount } from '../connector.ts';
import { dateAt, type Report, readEntry, signedAmount } from './camt-entry.ts';
import { at, childrenOf, type Element, textAt, type Visitor } from './element.ts';
import { normaliseIban } from './iban.ts';
import type { Page, Statement } from './model.ts';
import type { Issue } from './problems.ts';
import { computedClosing, coverageOf, latestClosing } from './proof.ts';
import { nextDay, readCurrency, readDate } from './values.ts';

/** A statement, and what only the whole file says of it. */
type Draft = { element: Element; observations: Observation[]; currency: string | null; undatedLine: number | null };

export type Reading = { visit: Visitor; rowCount: () => number; issue: () => Issue | null; finish: () => Statement[] };

export function readCamt(): Reading {
  const drafts: Draft[] = [];
  let issue: Issue | null = null;
  let header: Element | undefined;
  let observations: Observation[] = [];
  let undatedLine: number | null = null;
  let currency: string | null = null;
  let rowCount = 0;
  const report: Report = (found) => {
    issue ??= found;
  };

  return {
    rowCount: () => rowCount,
    issue: () => issue,
    visit(element, parentName) {
      if (element.name === 'Ntry' && parentName === 'Stmt') {
        const read = readEntry(element, currency, report);
        for (const row of read.rows) observations.push(row);
        undatedLine ??= read.undatedLine;
        rowCount += read.rows.length;
        return 'drop';
      }
      if (element.name === 'Acct' && parentName === 'Stmt') currency = readCurrency(textAt(element, 'Ccy'));
      if (element.name === 'GrpHdr') header = element;
      if (element.name !== 'Stmt') return 'keep';
      drafts.push({ element, observations, currency, undatedLine });
      observations = [];
      undatedLine = null;
      currency = null;
      return 'drop';
    },
    finish: () => drafts.flatMap((draft) => finishStatement(draft, header, report) ?? []),
  };
}

/** Null for a statement of an account without an id, or without anything that tells its currency: it says nothing. */
function finishStatement(draft: Draft, header: Element | undefined, report: Report): Statement | null {
  const { element, observations } = draft;
  const balances = childrenOf(element, 'Bal');
  const account = readAccount(element, draft.currency ?? currencyOf(observations, balances));
  if (account === null) return null;
  const from = periodEdge(element, 'FrDtTm');
  const to = periodEdge(element, 'ToDtTm');
  const openings = stated(balances, ['OPBD', 'PRCD'], account.currency, report);
  const closings = stated(balances, ['CLBD'], account.currency, report).map((balance) => ({
    ...balance,
    at: balance.at ?? to?.date ?? null,
  }));
  const opening = openings.reduce<Balance | null>(
    (first, next) => (first === null || (next.at ?? '') < (first.at ?? '') ? next : first),
    null,
  );
  const closing = latestClosing(
    closings,
    openings.map((balance) => balance.amount),
  );
  const dated = dateRows(observations, to?.date ?? closing?.at ?? null, draft.undatedLine, report);
  const statement = {
    account,
    statementId: textAt(element, 'Id'),
    periodFrom: from?.date ?? null,
    periodTo: to?.date ?? null,
    wholeDays: wholeDays(from, to, closing?.at ?? null),
    createdAt: textAt(element, 'CreDtTm') ?? textAt(header, 'CreDtTm'),
    page: readPage(at(element, 'StmtPgntn')) ?? readPage(at(header, 'MsgPgntn')),
    observations: dated,
    opening,
    closing: closing ?? computedClosing(opening, dated, account.currency),
  };
  return { ...statement, coverage: coverageOf(statement) };
}

/** The rows' currency, else that of a balance. */
function currencyOf(observations: readonly Observation[], balances: readonly Element[]): string | null {
  const row = observations.find(({ status }) => status === 'booked') ?? observations[0];
  return (
    row?.amount.currency ??
    balances.map((balance) => readCurrency(at(balance, 'Amt')?.attributes.Ccy)).find((code) => code !== null) ??
    null
  );
}

function readAccount(statement: Element, currency: string | null): ObservedAccount | null {
  const account = at(statement, 'Acct');
  const ibanText = textAt(account, 'Id', 'IBAN');
  const other = textAt(account, 'Id', 'Othr', 'Id');
  if (currency === null || (ibanText === null && other === null)) return null;
  const iban = ibanText === null ? null : normaliseIban(ibanText);
  const identity = `${iban === null ? `othr:${other}` : `iban:${iban}`}/${currency}`;
  return {
    identity,
    name: textAt(account, 'Nm') ?? iban ?? other ?? identity,
    type: accountType(textAt(account, 'Tp', 'Cd')),
    currency,
    iban,
    isPro: false,
    loanDetails: null,
    savingsDetails: null,
    handle: identity,
  };
}

/** Codes of ISO 20022 `ExternalCashAccountType1Code`; a statement that does not say is of a current account. */
function accountType(code: string | null): AccountType {
  if (code === 'SVGS' || code === 'LLSV' || code === 'ONDP') return 'savings';
  if (code === 'LOAN') return 'loan';
  return code === 'CARD' ? 'card' : 'checking';
}

/** Balances of these codes in the account's currency. Others, and other currencies, are not looked at. */
function stated(balances: readonly Element[], codes: readonly string[], currency: string, report: Report): Balance[] {
  return balances.flatMap((balance) => {
    const code = textAt(balance, 'Tp', 'CdOrPrtry', 'Cd');
    const amountElement = at(balance, 'Amt');
    const stated = readCurrency(amountElement?.attributes.Ccy) ?? currency;
    if (code === null || !codes.includes(code) || stated !== currency) return [];
    const amount: Money | null = signedAmount(balance, amountElement, null, currency, report);
    return amount === null
      ? []
      : [{ amount, kind: code === 'CLBD' ? 'closing-booked' : 'opening-booked', at: dateAt(at(balance, 'Dt'), report) }];
  });
}

type Edge = { date: CalendarDate; time: string | null };

function periodEdge(statement: Element, name: 'FrDtTm' | 'ToDtTm'): Edge | null {
  const text = textAt(statement, 'FrToDt', name) ?? textAt(statement, 'FrToDt', name === 'FrDtTm' ? 'FrDt' : 'ToDt');
  const date = text === null ? null : readDate(text);
  return date === null ? null : { date, time: /T(\d{2}:\d{2})/.exec(text ?? '')?.[1] ?? null };
}

/**
 * The days of the period from midnight to midnight: a bank that makes two statements on one day covers it with neither.
 * An end at 00:00 means that day where the closing balance is of it, else the day before.
 */
function wholeDays(from: Edge | null, to: Edge | null, closingAt: CalendarDate | null): { from: CalendarDate; to: CalendarDate } | null {
  if (from === null || to === null) return null;
  const first = from.time === null || from.time === '00:00' ? from.date : nextDay(from.date, 1);
  const endsWhole = to.time === null || to.time === '23:59' || to.time === '24:00' || (to.time === '00:00' && closingAt === to.date);
  const last = endsWhole ? to.date : nextDay(to.date, -1);
  return first <= last ? { from: first, to: last } : null;
}

function readPage(element: Element | undefined): Page | null {
  const number = Number(textAt(element, 'PgNb') ?? Number.NaN);
  if (element === undefined || !Number.isInteger(number)) return null;
  const last = textAt(element, 'LastPgInd');
  return { number, last: last === null ? null : last === 'true' || last === '1' };
}

/** A row without a date of its own is of the day that the statement ends on. */
function dateRows(rows: Observation[], date: CalendarDate | null, undatedLine: number | null, report: Report): Observation[] {
  if (undatedLine === null) return rows;
  if (date === null) report({ code: 'no_date', line: undatedLine });
  return rows.map((row) =>
    row.bookingDate === undefined && row.valueDate === undefined && date !== null ? { ...row, bookingDate: date } : row,
  );
}
