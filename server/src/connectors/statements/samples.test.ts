import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { parseDecimal, sum } from '../../base/money.ts';
import type { Balance } from '../connector.ts';
import { combineUpload } from './combine.ts';
import type { StatementFile } from './model.ts';
import { readStatementFile } from './read.ts';

type ExpectedAccount = {
  identity: string;
  type: string;
  currency: string;
  statements: number;
  rows: number;
  sum: string;
  balance: { amount: string; kind: string; at: string } | null;
  vouching: number;
  dates: string[];
  texts: string[];
};
type Expected = { kind: string; bankCode: string | null; org: string | null; accounts: ExpectedAccount[] };

const here = import.meta.dirname;
/** The samples in the repository, or another folder of the same layout. */
const folder = process.env.PONTAGE_SAMPLES_DIR ?? join(here, 'fixtures', 'samples');
const table = JSON.parse(readFileSync(join(here, 'samples.expected.json'), 'utf8')) as Record<string, Expected>;

describe('sample files give the table of expected results', () => {
  for (const [path, expected] of Object.entries(table)) {
    test(path, { skip: !existsSync(join(folder, path)) && `${path} is not in the samples folder` }, () => {
      const outcome = readStatementFile(path, readFileSync(join(folder, path)));
      assert.ok(outcome.ok, outcome.ok ? '' : outcome.problem.sentence);
      assert.deepEqual(observed(outcome.file), normalised(expected));
    });
  }
});

test('the four CAMT samples tell apart what they prove of their first row', () => {
  const row = (path: string) => {
    const outcome = readStatementFile(path, readFileSync(join(folder, path)));
    return outcome.ok ? outcome.file.statements[0]?.observations[0] : undefined;
  };
  assert.deepEqual(row('camt/camt053.v8.xml'), {
    status: 'booked',
    bookingDate: '2014-12-31',
    valueDate: '2015-01-02',
    amount: { minor: 885, exponent: 2, currency: 'EUR' },
    rawText: 'NAME NAME 4654654654654654',
    counterpartyName: 'NAME NAME',
    counterpartyIban: 'NL56AGDH9619008421',
    endToEndId: 'MUELL/FINP/RA12345',
    providerId: 'AAAASESS-FP-CN_98765/01',
    bankCode: 'PMNT-RCDT-BOOK',
  });
  assert.equal(row('camt/camt053.v2.minimal.xml')?.bankCode, '544');
  assert.equal(row('camt/camt053.v2.minimal.xml')?.providerId, undefined);
});

function observed(file: StatementFile) {
  const combined = combineUpload([file], { bank: null, importedHashes: [] });
  assert.ok(combined.ok);
  const accounts = combined.accounts.map(({ account, batches }) => {
    const rows = batches.flatMap((batch) => batch.observations);
    const balance = batches.reduce<Balance | null>((last, batch) => batch.balance ?? last, null);
    return {
      identity: account.identity,
      type: account.type,
      currency: account.currency,
      statements: batches.length,
      rows: rows.length,
      sum: sum(
        rows.map((row) => row.amount),
        account.currency,
      ),
      balance,
      vouching: batches.filter((batch) => batch.coverage.bookedComplete).length,
      dates: rows.map((row) => row.bookingDate),
      texts: rows.map((row) => row.rawText),
    };
  });
  return { kind: file.kind, ...file.bank, accounts };
}

function normalised(expected: Expected) {
  const accounts = expected.accounts.map((account) => ({
    ...account,
    sum: parseDecimal(account.sum, account.currency),
    balance: account.balance && { ...account.balance, amount: parseDecimal(account.balance.amount, account.currency) },
  }));
  return { ...expected, accounts };
}
