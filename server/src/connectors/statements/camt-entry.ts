/** One `Ntry` of a CAMT.053 statement as rows (ISO 20022 BankToCustomerStatement, `ReportEntry`). */
import { equal, type Money } from '../../base/money.ts';
import type { CalendarDate, Observation } from '../connector.ts';
import { at, childrenOf, type Element, textAt } from './element.ts';
import { normaliseIban } from './iban.ts';
import type { Issue } from './problems.ts';
import { addUp, joinTexts, readAmount, readCurrency, readDate, signed } from './values.ts';

/** A row whose currency and date the statement may still have to supply. */
export type EntryRows = { rows: Observation[]; undatedLine: number | null };

export type Report = (issue: Issue) => void;

const NO_ROWS: EntryRows = { rows: [], undatedLine: null };

/** Reports what cannot be read; the file is then refused, so that what is returned does not matter. */
export function readEntry(entry: Element, statementCurrency: string | null, report: Report): EntryRows {
  const status = statusOf(entry);
  if (status === 'ignored') return NO_ROWS;
  const amount = signedAmount(entry, at(entry, 'Amt'), null, statementCurrency, report);
  if (amount === null) return NO_ROWS;
  const dates = datesOf(entry, report);
  const details = childrenOf(entry, 'NtryDtls').flatMap((group) => childrenOf(group, 'TxDtls'));
  const shares = splitAmounts(entry, details, amount);
  const undated = dates.bookingDate === undefined && dates.valueDate === undefined;
  const common = { status, ...dates };
  if (shares === null) return { rows: [{ ...common, amount, ...describeWhole(entry, details) }], undatedLine: undated ? entry.line : null };
  const rows = details.map((detail, index) => ({ ...common, amount: shares[index] ?? amount, ...describeDetail(entry, detail) }));
  return { rows, undatedLine: undated ? entry.line : null };
}

/** `Sts` is a code until version 7 and holds a `Cd` from version 8; FUTR is booked on a future day. A statement is of booked entries by definition. */
function statusOf(entry: Element): Observation['status'] | 'ignored' {
  switch (textAt(entry, 'Sts', 'Cd') ?? textAt(entry, 'Sts')) {
    case 'PDNG':
      return 'pending';
    case 'FUTR':
      return 'scheduled';
    case 'INFO':
      return 'ignored';
    default:
      return 'booked';
  }
}

/** An amount with the sign of its `CdtDbtInd`; `inherited` is that of the element around, where it has none itself. */
export function signedAmount(
  owner: Element,
  element: Element | undefined,
  inherited: 'CRDT' | 'DBIT' | null,
  defaultCurrency: string | null,
  report: Report,
): Money | null {
  const line = element?.line ?? owner.line;
  const indicator = indicatorOf(owner) ?? inherited;
  const currency = readCurrency(element?.attributes.Ccy) ?? defaultCurrency;
  if (currency === null) report({ code: 'no_currency', line });
  else if (indicator === null) report({ code: 'no_sign', line });
  else {
    const amount = readAmount(element?.text ?? '', currency);
    if (amount !== null) return signed(amount, indicator);
    report({ code: 'bad_amount', line, found: element?.text ?? '' });
  }
  return null;
}

function indicatorOf(element: Element): 'CRDT' | 'DBIT' | null {
  const text = textAt(element, 'CdtDbtInd');
  return text === 'CRDT' || text === 'DBIT' ? text : null;
}

type Dates = { bookingDate?: CalendarDate; valueDate?: CalendarDate };

function datesOf(entry: Element, report: Report): Dates {
  const bookingDate = dateAt(at(entry, 'BookgDt'), report);
  const valueDate = dateAt(at(entry, 'ValDt'), report);
  return { ...(bookingDate !== null && { bookingDate }), ...(valueDate !== null && { valueDate }) };
}

/** `Dt` or `DtTm` inside; the day as written. */
export function dateAt(element: Element | undefined, report: Report): CalendarDate | null {
  const text = textAt(element, 'Dt') ?? textAt(element, 'DtTm');
  if (element === undefined || text === null) return null;
  const date = readDate(text);
  if (date === null) report({ code: 'bad_date', line: element.line, found: text });
  return date;
}

/** The amounts of the details, where there are several and they sum to the entry in its currency; else null: the entry is one row. */
function splitAmounts(entry: Element, details: readonly Element[], amount: Money): Money[] | null {
  if (details.length < 2) return null;
  const shares: Money[] = [];
  for (const detail of details) {
    const element = at(detail, 'Amt') ?? at(detail, 'AmtDtls', 'TxAmt', 'Amt');
    const indicator = indicatorOf(detail) ?? indicatorOf(entry);
    const currency = readCurrency(element?.attributes.Ccy);
    if (element === undefined || indicator === null || currency !== amount.currency) return null;
    const share = readAmount(element.text, currency);
    if (share === null) return null;
    shares.push(signed(share, indicator));
  }
  const total = addUp(shares, amount.currency);
  return total !== null && equal(total, amount) ? shares : null;
}

type Description = Omit<Observation, 'status' | 'amount'>;

/** One entry as one row. Of several details only what they all agree on describes it. */
function describeWhole(entry: Element, details: readonly Element[]): Description {
  const parties = details.map((detail) => counterpartyOf(entry, detail));
  const name = common(parties.map((party) => party.name));
  const iban = common(parties.map((party) => party.iban));
  const own = textAt(entry, 'AddtlNtryInf');
  const detailed = details.length === 1 ? remittanceOf(details[0]) : (own ?? remittanceOf(details[0]));
  const only = details.length === 1 ? details[0] : undefined;
  return {
    rawText: joinTexts(name, detailed ?? own ?? structuredOf(only)),
    ...parts(name, iban, textAt(only, 'Refs', 'EndToEndId'), textAt(entry, 'AcctSvcrRef') ?? textAt(only, 'Refs', 'AcctSvcrRef')),
    ...bankCodePart(at(entry, 'BkTxCd'), at(only, 'BkTxCd')),
    ...transactionDatePart(only),
  };
}

/** The entry's own reference would be the same on every row, so that only the detail's counts. */
function describeDetail(entry: Element, detail: Element): Description {
  const { name, iban } = counterpartyOf(entry, detail);
  return {
    rawText: joinTexts(name, remittanceOf(detail) ?? textAt(entry, 'AddtlNtryInf') ?? structuredOf(detail)),
    ...parts(name, iban, textAt(detail, 'Refs', 'EndToEndId'), textAt(detail, 'Refs', 'AcctSvcrRef')),
    ...bankCodePart(at(detail, 'BkTxCd'), at(entry, 'BkTxCd')),
    ...transactionDatePart(detail),
  };
}

function parts(name: string | null, iban: string | null, endToEndId: string | null, reference: string | null): Partial<Description> {
  return {
    ...(name !== null && { counterpartyName: name }),
    ...(iban !== null && { counterpartyIban: iban }),
    ...(endToEndId !== null && endToEndId !== 'NOTPROVIDED' && { endToEndId }),
    ...(reference !== null && reference !== 'NOTPROVIDED' && { providerId: reference }),
  };
}

function common(values: readonly (string | null)[]): string | null {
  const [first] = values;
  return first !== undefined && values.every((value) => value === first) ? first : null;
}

/** Who stands on the other side. The parties of a reversal keep the roles of the payment that it undoes. */
function counterpartyOf(entry: Element, detail: Element): { name: string | null; iban: string | null } {
  const reversal = ['true', '1'].includes(textAt(entry, 'RvslInd') ?? '');
  const incoming = ((indicatorOf(detail) ?? indicatorOf(entry)) === 'CRDT') !== reversal;
  const role = incoming ? 'Dbtr' : 'Cdtr';
  const related = at(detail, 'RltdPties');
  const iban = textAt(related, `${role}Acct`, 'Id', 'IBAN');
  return { name: textAt(related, role, 'Nm') ?? textAt(related, role, 'Pty', 'Nm'), iban: iban === null ? null : normaliseIban(iban) };
}

function remittanceOf(detail: Element | undefined): string | null {
  const lines = childrenOf(at(detail, 'RmtInf'), 'Ustrd').map((line) => line.text);
  return lines.filter((line) => line !== '').join(' ') || textAt(detail, 'AddtlTxInf');
}

/** A creditor's reference, where nothing else says what the row is. */
function structuredOf(detail: Element | undefined): string | null {
  return textAt(detail, 'RmtInf', 'Strd', 'CdtrRefInf', 'Ref');
}

function bankCodePart(...elements: (Element | undefined)[]): Partial<Description> {
  for (const element of elements) {
    const domain = at(element, 'Domn');
    const codes = [textAt(domain, 'Cd'), textAt(domain, 'Fmly', 'Cd'), textAt(domain, 'Fmly', 'SubFmlyCd')].filter((code) => code !== null);
    const bankCode = codes.length > 0 ? codes.join('-') : textAt(element, 'Prtry', 'Cd');
    if (bankCode !== null) return { bankCode };
  }
  return {};
}

function transactionDatePart(detail: Element | undefined): Partial<Description> {
  const dates = at(detail, 'RltdDts');
  const transactionDate = readDate(textAt(dates, 'TxDtTm') ?? textAt(dates, 'AccptncDtTm') ?? '');
  return transactionDate === null ? {} : { transactionDate };
}
