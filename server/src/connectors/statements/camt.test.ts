import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { toNumber } from '../../base/money.ts';
import { camtFile, camtText, details, entry, type StatementOptions } from './fixtures/camt.ts';
import type { Statement } from './model.ts';
import { readStatementFile } from './read.ts';

const JANUARY = { from: '2025-01-01T00:00:00', to: '2025-01-31T23:59:59', createdAt: '2025-02-01T06:00:00Z' };
/** 100.00 at first, 70.00 at last. */
const PROVEN: StatementOptions = {
  ...JANUARY,
  opening: ['100.00', '2025-01-01'],
  closings: [['70.00', '2025-01-31']],
  entries: [entry('-40.00', '2025-01-10'), entry('10.00', '2025-01-31')],
};

function read(bytes: Uint8Array): Statement[] {
  const outcome = readStatementFile('january.xml', bytes);
  assert.ok(outcome.ok, outcome.ok ? '' : outcome.problem.sentence);
  return outcome.file.statements;
}

function readOne(options: StatementOptions, version?: string): Statement {
  return read(camtFile([options], version))[0]!;
}

const amounts = (statement: Statement) => statement.observations.map((row) => toNumber(row.amount));

describe('a CAMT row', () => {
  test('takes its sign from CdtDbtInd alone, and a reversal is a row of its own', () => {
    const refund = entry('40.00', '2025-01-11', '<RvslInd>true</RvslInd>');
    const signInAmount = entry('5.00', '2025-01-12').replace('>5.00<', '>-5.00<');
    assert.deepEqual(amounts(readOne({ entries: [entry('-40.00', '2025-01-10'), refund, signInAmount] })), [-40, 40, 5]);
  });

  test('names the payee of the payment that a reversal undoes', () => {
    const parties = details('<RltdPties><Dbtr><Nm>MOI</Nm></Dbtr><Cdtr><Pty><Nm>BOUTIQUE</Nm></Pty></Cdtr></RltdPties>');
    const rows = readOne({
      entries: [entry('-4', '2025-01-10', parties), entry('4', '2025-01-11', `<RvslInd>1</RvslInd>${parties}`)],
    }).observations;
    assert.deepEqual(
      rows.map((row) => row.counterpartyName),
      ['BOUTIQUE', 'BOUTIQUE'],
    );
  });

  test('is booked, pending or scheduled; INFO is ignored; both spellings of Sts', () => {
    const entries = ['BOOK', '<Cd>BOOK</Cd>', 'PDNG', '<Cd>PDNG</Cd>', 'INFO', '<Cd>INFO</Cd>', '<Cd>FUTR</Cd>'].map((status) =>
      entry('-1', '2025-01-10', '', status),
    );
    assert.deepEqual(
      readOne({ entries }).observations.map((row) => row.status),
      ['booked', 'booked', 'pending', 'pending', 'scheduled'],
    );
  });

  test('keeps its dates as written, whatever the time zone', () => {
    const late = entry('-1', '2025-01-10').replace('<Dt>2025-01-10</Dt>', '<DtTm>2025-01-10T23:30:00-05:00</DtTm>');
    const zoned = entry('-1', '2025-01-10+14:00', '<ValDt><DtTm>2025-01-12T00:10:00+02:00</DtTm></ValDt>');
    const rows = readOne({ entries: [late, zoned] }).observations;
    assert.deepEqual(
      rows.map((row) => [row.bookingDate, row.valueDate]),
      [
        ['2025-01-10', undefined],
        ['2025-01-10', '2025-01-12'],
      ],
    );
  });

  test('is split only where the details sum to the entry in its currency', () => {
    const share = (amount: string, currency = 'EUR', reference = '') =>
      `<Refs><AcctSvcrRef>${reference}</AcctSvcrRef></Refs><Amt Ccy="${currency}">${amount}</Amt><CdtDbtInd>DBIT</CdtDbtInd>`;
    const whole = '<AcctSvcrRef>ENTRY</AcctSvcrRef>';
    const sums = entry('-30', '2025-01-10', whole + details(share('10', 'EUR', 'A'), share('20', 'EUR', 'B')));
    const short = entry('-31', '2025-01-10', whole + details(share('10'), share('20')));
    const foreign = entry('-32', '2025-01-10', whole + details(share('10', 'USD'), share('22', 'USD')));
    const older = entry(
      '-33',
      '2025-01-10',
      details('<AmtDtls><TxAmt><Amt Ccy="EUR">11</Amt></TxAmt></AmtDtls>', '<AmtDtls><TxAmt><Amt Ccy="EUR">22</Amt></TxAmt></AmtDtls>'),
    );
    const statement = readOne({ entries: [sums, short, foreign, older] });
    assert.deepEqual(amounts(statement), [-10, -20, -31, -32, -11, -22]);
    assert.deepEqual(
      statement.observations.map((row) => row.providerId),
      ['A', 'B', 'ENTRY', 'ENTRY', undefined, undefined],
    );
  });

  test('has AcctSvcrRef as its id and EndToEndId as evidence, never NOTPROVIDED', () => {
    const inside = (id: string) =>
      details(`<Refs><EndToEndId>${id}</EndToEndId></Refs><RmtInf><Ustrd>LOYER</Ustrd><Ustrd>JANVIER</Ustrd></RmtInf>`);
    const rows = readOne({
      entries: [entry('-1', '2025-01-10', inside('NOTPROVIDED')), entry('-1', '2025-01-10', inside('E1'))],
    }).observations;
    assert.deepEqual(
      rows.map((row) => [row.providerId, row.endToEndId, row.rawText]),
      [
        [undefined, undefined, 'LOYER JANVIER'],
        [undefined, 'E1', 'LOYER JANVIER'],
      ],
    );
  });

  test('keeps five decimals, and a sixth is refused', () => {
    assert.deepEqual(readOne({ entries: [entry('-1.23456', '2025-01-10')] }).observations[0]?.amount, {
      minor: -123456,
      exponent: 5,
      currency: 'EUR',
    });
    const outcome = readStatementFile('a.xml', camtFile([{ entries: [entry('-1.234567', '2025-01-10')] }]));
    assert.equal(!outcome.ok && outcome.problem.code, 'bad_amount');
  });
});

describe('a CAMT account and its balance', () => {
  test('every version reads alike', () => {
    const [first, ...others] = Array.from({ length: 12 }, (_, index) => readOne(PROVEN, `001.${String(index + 2).padStart(2, '0')}`));
    for (const other of others) assert.deepEqual(other, first);
    const prefixed = camtText([PROVEN])
      .replace(/<(\/?)(?=[A-Z])/g, '<$1ns2:')
      .replace('xmlns=', 'xmlns:ns2=');
    assert.deepEqual(read(new TextEncoder().encode(prefixed))[0], first);
  });

  test("the currency is the account's, else the rows'", () => {
    assert.equal(
      readOne({ currency: 'CHF', entries: [entry('1', '2025-01-10')] }).account.identity,
      'iban:FR7630003000001234567890185/CHF',
    );
    assert.equal(readOne({ currency: null, entries: [entry('1', '2025-01-10', '', 'BOOK', 'SEK')] }).account.currency, 'SEK');
  });

  test("the bank code is the IBAN's", () => {
    const bank = (iban: string) => {
      const outcome = readStatementFile('a', camtFile([{ iban }]));
      return outcome.ok && outcome.file.bank.bankCode;
    };
    assert.deepEqual(
      ['NL26 VAYB 8060 4768 90', 'DE89370400440532013000', 'IT60X0542811101000000123456', 'BE68539007547034', 'XK051212012345678906'].map(
        bank,
      ),
      ['NL:VAYB', 'DE:37040044', 'IT:05428', 'BE:539', null],
    );
  });

  test("the balance is the latest closing in the account's currency, else computed, else unknown", () => {
    const balance = (options: StatementOptions) => {
      const { closing } = readOne({ entries: [entry('-40', '2025-01-10'), entry('-7', '2025-01-12', '', 'PDNG')], ...options });
      return closing && [toNumber(closing.amount), closing.kind, closing.at];
    };
    assert.deepEqual(
      balance({
        closings: [
          ['70', '2025-01-31'],
          ['90', '2025-01-15'],
        ],
      }),
      [70, 'closing-booked', '2025-01-31'],
    );
    assert.deepEqual(balance({ opening: ['100', '2025-01-01'], closings: [['70', '2025-01-31', 'SEK']] }), [60, 'computed', '2025-01-10']);
    assert.equal(balance({ closings: [['70', '2025-01-31', 'SEK']] }), null);
    assert.equal(balance({}), null);
  });

  test('of two closings on one date, the one that no opening carries on from', () => {
    const bytes = camtText([
      {
        opening: ['100', '2025-01-01'],
        closings: [
          ['70', '2025-01-31'],
          ['90', '2025-01-31'],
        ],
      },
    ]).replace(
      '</Acct>',
      '</Acct><Bal><Tp><CdOrPrtry><Cd>OPBD</Cd></CdOrPrtry></Tp><Amt Ccy="EUR">90</Amt><CdtDbtInd>CRDT</CdtDbtInd><Dt><Dt>2025-01-31</Dt></Dt></Bal>',
    );
    assert.equal(toNumber(read(new TextEncoder().encode(bytes))[0]!.closing!.amount), 70);
  });
});

describe('a CAMT statement vouches for absence', () => {
  const vouches = (options: StatementOptions) => readOne({ ...PROVEN, ...options }).coverage;

  test('where opening + rows = closing, for the whole days of its period', () => {
    const coverage = vouches({});
    assert.deepEqual(coverage.windows, [{ from: '2025-01-01', to: '2025-01-31' }]);
    assert.deepEqual([coverage.bookedComplete, coverage.absenceIsFinal, coverage.pendingComplete], [true, true, false]);
    assert.deepEqual(vouches({ from: '2025-01-01T08:00:00', to: '2025-01-31T12:30:00' }).windows, [
      { from: '2025-01-02', to: '2025-01-30' },
    ]);
    assert.deepEqual(vouches({ to: '2025-01-31T00:00:00' }).windows, [{ from: '2025-01-01', to: '2025-01-31' }]);
  });

  test('and nothing otherwise', () => {
    const cases: Record<string, StatementOptions> = {
      'a sum that does not agree': { closings: [['71.00', '2025-01-31']] },
      'no closing': { closings: [] },
      'a closing in another currency': { closings: [['70.00', '2025-01-31', 'SEK']] },
      'page 2 only': { page: [2, true] },
      'page 1 of several': { page: [1, false] },
      'a row outside the period': { entries: [entry('-40.00', '2025-01-10'), entry('10.00', '2025-02-01')] },
      'part of a day': { from: '2025-01-31T08:00:00', to: '2025-01-31T12:30:00', entries: [entry('-30', '2025-01-31')] },
    };
    for (const [name, options] of Object.entries(cases)) assert.equal(vouches(options).bookedComplete, false, name);
    const { from: _, to: __, ...withoutPeriod } = PROVEN;
    assert.equal(readOne(withoutPeriod).coverage.bookedComplete, false);
  });
});
