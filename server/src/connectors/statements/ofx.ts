/** OFX 1.x and 2.x (Open Financial Exchange 2.2, sections 11 and 13): bank, card and investment statements. */
import type { AccountType, Balance, Observation, ObservedAccount } from '../connector.ts';
import type { Reading } from './camt.ts';
import { at, type Element, textAt } from './element.ts';
import type { Statement } from './model.ts';
import type { Issue } from './problems.ts';
import { NOTHING_VOUCHED } from './proof.ts';
import { joinTexts, readAmount, readCurrency, readDate } from './values.ts';

/** A row before its account's currency is known, for it may stand after the rows. */
type Row = Omit<Observation, 'amount'> & { amountText: string; currency: string | null; line: number };

type Draft = { element: Element; rows: Row[] };

const STATEMENTS = ['STMTRS', 'CCSTMTRS', 'INVSTMTRS'];

/** `org` is `ORG/FID`, null where the file has neither; known once the file has been read. */
export type OfxReading = Reading & { org: () => string | null };

export function readOfx(): OfxReading {
  const drafts: Draft[] = [];
  let issue: Issue | null = null;
  let institution: Element | undefined;
  let rows: Row[] = [];
  let rowCount = 0;
  const report = (found: Issue): void => {
    issue ??= found;
  };
  const org = (): string | null => {
    const [name, id] = [textAt(institution, 'ORG'), textAt(institution, 'FID')];
    return name === null && id === null ? null : `${escapePart(name)}/${escapePart(id)}`;
  };

  return {
    org,
    rowCount: () => rowCount,
    issue: () => issue,
    visit(element) {
      if (element.name === 'STMTTRN' || element.name === 'STMTTRNP') {
        const row = readRow(element, report);
        if (row !== null) rows.push(row);
        rowCount += 1;
        return 'drop';
      }
      if (element.name === 'FI') institution ??= element;
      if (!STATEMENTS.includes(element.name)) return 'keep';
      drafts.push({ element, rows });
      rows = [];
      return 'drop';
    },
    finish: () => drafts.flatMap((draft) => finishStatement(draft, org(), report) ?? []),
  };
}

function readRow(element: Element, report: (issue: Issue) => void): Row | null {
  const line = element.line;
  const pending = element.name === 'STMTTRNP';
  const posted = textAt(element, 'DTPOSTED') ?? textAt(element, 'DTTRAN') ?? textAt(element, 'DTUSER') ?? textAt(element, 'DTAVAIL');
  const date = readDate(posted ?? '');
  if (posted === null) report({ code: 'no_date', line });
  else if (date === null) report({ code: 'bad_date', line: at(element, 'DTPOSTED')?.line ?? line, found: posted });
  const correction = correctionOf(element);
  const amountText = textAt(element, 'TRNAMT') ?? (correction?.action === 'delete' ? '0' : '');
  const [transactionDate, valueDate] = [readDate(textAt(element, 'DTUSER') ?? ''), readDate(textAt(element, 'DTAVAIL') ?? '')];
  const [fitid, kind, payee] = [textAt(element, 'FITID'), textAt(element, 'TRNTYPE'), textAt(element, 'PAYEE', 'NAME')];
  if (date === null) return null;
  return {
    line: at(element, 'TRNAMT')?.line ?? line,
    amountText,
    // ORIGCURRENCY tells what an amount was before the bank converted it; CURRENCY what it is in.
    currency: readCurrency(textAt(element, 'CURRENCY', 'CURSYM')),
    status: pending ? 'pending' : 'booked',
    ...(pending ? { transactionDate: date } : { bookingDate: date }),
    ...(transactionDate !== null && { transactionDate }),
    ...(valueDate !== null && { valueDate }),
    rawText: joinTexts(textAt(element, 'NAME') ?? payee, textAt(element, 'MEMO')),
    ...(payee !== null && { counterpartyName: payee }),
    ...(fitid !== null && { providerId: fitid }),
    ...(kind !== null && { bankCode: kind.toUpperCase() }),
    ...(correction !== null && { correction }),
  };
}

function correctionOf(element: Element): NonNullable<Observation['correction']> | null {
  const providerId = textAt(element, 'CORRECTFITID');
  const action = textAt(element, 'CORRECTACTION')?.toUpperCase();
  if (providerId === null || (action !== 'REPLACE' && action !== 'DELETE')) return null;
  return { action: action === 'REPLACE' ? 'replace' : 'delete', providerId };
}

/** Null for a statement without an account, or without anything that tells its currency: it says nothing. */
function finishStatement({ element, rows }: Draft, org: string | null, report: (issue: Issue) => void): Statement | null {
  const currency = readCurrency(textAt(element, 'CURDEF')) ?? rows.find((row) => row.currency !== null)?.currency ?? null;
  const [first] = rows;
  if (currency === null && first !== undefined) report({ code: 'no_currency', line: first.line });
  const account = currency === null ? null : readAccount(element, org, currency);
  if (currency === null || account === null) return null;
  const list = at(element, 'BANKTRANLIST') ?? at(element, 'INVTRANLIST');
  return {
    account,
    statementId: null,
    periodFrom: readDate(textAt(list, 'DTSTART') ?? ''),
    periodTo: readDate(textAt(list, 'DTEND') ?? ''),
    wholeDays: null,
    createdAt: null,
    page: null,
    observations: observationsOf(rows, currency, report),
    opening: null,
    closing: ledgerBalance(element, currency, report),
    coverage: NOTHING_VOUCHED,
  };
}

/** A FITID that stands on several rows identifies none of them; a correction may carry the id of the row that it corrects. */
function observationsOf(rows: readonly Row[], defaultCurrency: string, report: (issue: Issue) => void): Observation[] {
  const uses = new Map<string, number>();
  for (const { providerId, correction } of rows) {
    if (providerId !== undefined && correction === undefined) uses.set(providerId, (uses.get(providerId) ?? 0) + 1);
  }
  return rows.flatMap(({ amountText, currency, line, providerId, ...row }) => {
    const amount = readAmount(amountText, currency ?? defaultCurrency);
    if (amount === null) {
      report({ code: 'bad_amount', line, found: amountText });
      return [];
    }
    const usable = providerId !== undefined && (uses.get(providerId) ?? 0) <= 1;
    return [{ ...row, amount, ...(usable && { providerId }) }];
  });
}

function ledgerBalance(statement: Element, currency: string, report: (issue: Issue) => void): Balance | null {
  const balance = at(statement, 'LEDGERBAL');
  const text = textAt(balance, 'BALAMT');
  if (balance === undefined || text === null) return null;
  const amount = readAmount(text, currency);
  if (amount !== null) return { amount, kind: 'ledger', at: readDate(textAt(balance, 'DTASOF') ?? '') };
  report({ code: 'bad_amount', line: at(balance, 'BALAMT')?.line ?? balance.line, found: text });
  return null;
}

/** Identity: ORG, FID, BANKID (BROKERID of an investment account, nothing for a card) and ACCTID. */
function readAccount(statement: Element, org: string | null, currency: string): ObservedAccount | null {
  const from = at(statement, 'BANKACCTFROM') ?? at(statement, 'CCACCTFROM') ?? at(statement, 'INVACCTFROM');
  const accountId = textAt(from, 'ACCTID');
  if (accountId === null) return null;
  const bankId = textAt(from, 'BANKID') ?? textAt(from, 'BROKERID');
  const identity = `ofx:${org ?? '/'}/${escapePart(bankId)}/${escapePart(accountId)}`;
  return {
    identity,
    name: accountId,
    type: accountType(statement.name, textAt(from, 'ACCTTYPE')),
    currency,
    iban: null,
    isPro: false,
    loanDetails: null,
    savingsDetails: null,
    handle: identity,
  };
}

function accountType(statementName: string, type: string | null): AccountType {
  if (statementName === 'CCSTMTRS') return 'card';
  if (statementName === 'INVSTMTRS') return 'brokerage';
  switch (type?.toUpperCase()) {
    case 'SAVINGS':
    case 'MONEYMRKT':
    case 'CD':
      return 'savings';
    case 'CREDITLINE':
      return 'loan';
    default:
      return 'checking';
  }
}

/** Parts of an identity are joined by `/`. */
function escapePart(part: string | null): string {
  return (part ?? '').replaceAll('%', '%25').replaceAll('/', '%2F');
}
