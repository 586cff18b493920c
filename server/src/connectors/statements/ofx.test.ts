import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { toNumber } from '../../base/money.ts';
import { HEADER, type OfxOptions, ofxFile, ofxRow, ofxText } from './fixtures/ofx.ts';
import type { StatementFile } from './model.ts';
import { readStatementFile } from './read.ts';

function readBytes(bytes: Uint8Array): StatementFile {
  const outcome = readStatementFile('export.ofx', bytes);
  assert.ok(outcome.ok, outcome.ok ? '' : outcome.problem.sentence);
  return outcome.file;
}

const read = (options: OfxOptions) => readBytes(ofxFile(options)).statements[0]!;

describe('an OFX file', () => {
  test('reads with its header, without, and on one line', () => {
    const options = { rows: [ofxRow('-1.50', '20250110', 'A', 'CAFE')], balance: '12.00' };
    const { hash: _, ...first } = readBytes(ofxFile(options));
    for (const header of ['', '\r\n\r\n', HEADER.replaceAll('\n', ' '), HEADER.replaceAll('\n', '\r\n')]) {
      const { hash: __, ...other } = readBytes(ofxFile({ ...options, header }));
      assert.deepEqual(other, first);
    }
    const closed = ofxText(options).replace(/<(\w+)>([^<\n]+)(?=[<\n])/g, '<$1>$2</$1>');
    assert.deepEqual(readBytes(Buffer.from(closed)).statements, first.statements);
    const xml = `<?xml version="1.0"?><?OFX OFXHEADER="200" VERSION="220"?>${closed.slice(closed.indexOf('<OFX>')).replace('<SONRS></SONRS>', '<SONRS/>')}`;
    assert.deepEqual(readBytes(Buffer.from(xml)).statements, first.statements);
  });

  test('reads its code page, and UTF-8 whatever the header says', () => {
    const text = (header: string) => ofxText({ header, rows: [ofxRow('-1', '20250110', 'A', 'CAFÉ DE L’ÉTÉ')] });
    const label = (bytes: Uint8Array) => readBytes(bytes).statements[0]!.observations[0]!.rawText;
    const windows = Uint8Array.from([...text(HEADER)].map((character) => (character === '’' ? 0x92 : character.charCodeAt(0))));
    assert.equal(label(windows), 'CAFÉ DE L’ÉTÉ');
    assert.equal(label(Buffer.from(text(HEADER), 'utf8')), 'CAFÉ DE L’ÉTÉ');
    const latin = ofxText({
      header: 'OFXHEADER:100\nENCODING:8859-1\nCHARSET:ISO-8859-1\n\n',
      rows: [ofxRow('-1', '20250110', 'A', 'ÉTÉ')],
    });
    assert.equal(label(Buffer.from(latin, 'latin1')), 'ÉTÉ');
    const cyrillic = ofxText({ header: HEADER.replace('1252', '1251'), rows: [ofxRow('-1', '20250110', 'A', 'ÊÎÔÅ')] });
    assert.equal(label(Buffer.from(cyrillic, 'latin1')), 'КОФЕ');
  });

  test('takes entities, stray signs and empty elements as they come', () => {
    const row =
      '<STMTTRN><DTPOSTED>20250110<TRNAMT>-1<CHECKNUM><REFNUM><FITID>A</CHECKNUMBER><NAME>A &amp; B &#233; < C & D<MEMO></STMTTRN>';
    const { observations } = read({ rows: [row] });
    assert.deepEqual(
      observations.map((found) => [found.rawText, found.providerId]),
      [['A & B é < C & D', 'A']],
    );
  });

  test('keeps dates as written, amounts with a comma, and never vouches for absence', () => {
    const { observations, coverage } = read({ rows: [ofxRow('-1 234,56', '20250401233000.000[-5:EST]', 'A', 'X')] });
    assert.deepEqual(
      observations.map((row) => [row.bookingDate, toNumber(row.amount)]),
      [['2025-04-01', -1234.56]],
    );
    assert.deepEqual([coverage.windows, coverage.bookedComplete, coverage.absenceIsFinal], [[], false, undefined]);
  });

  test('a FITID counts where it is not repeated', () => {
    const { observations } = read({
      rows: [ofxRow('-1', '20250110', '1', 'X'), ofxRow('-2', '20250110', '1', 'Y'), ofxRow('-3', '20250110', '2', 'Z')],
    });
    assert.deepEqual(
      observations.map((row) => row.providerId),
      [undefined, undefined, '2'],
    );
  });

  test('CORRECTACTION names the row that it replaces or deletes', () => {
    const correct = (action: string, id: string) => `<CORRECTFITID>${id}<CORRECTACTION>${action}`;
    const { observations } = read({
      rows: [
        ofxRow('-1', '20250110', '1', 'X'),
        ofxRow('-2', '20250110', '3', 'X', correct('REPLACE', '1')),
        ofxRow('-9', '20250110', '4', 'Y', correct('DELETE', '2')),
      ],
    });
    assert.deepEqual(
      observations.map((row) => row.correction),
      [undefined, { action: 'replace', providerId: '1' }, { action: 'delete', providerId: '2' }],
    );
    assert.equal(observations[0]?.providerId, '1');
  });

  test('a label says each thing once', () => {
    const text = (name: string, memo: string) =>
      read({ rows: [ofxRow('-1', '20250110', '1', name, `<MEMO>${memo}`)] }).observations[0]?.rawText;
    assert.equal(text('CARTE', 'BOULANGERIE'), 'CARTE BOULANGERIE');
    assert.equal(text('BOULANGERIE DU', 'BOULANGERIE DU MARCHE'), 'BOULANGERIE DU MARCHE');
    assert.equal(text('SAME', 'SAME'), 'SAME');
  });

  test('cards and other currencies', () => {
    const dollars = ofxRow('-3.00', '20250110', '1', 'X', '<CURRENCY><CURRATE>0.9<CURSYM>USD</CURRENCY>');
    const converted = ofxRow('-2.70', '20250110', '2', 'X', '<ORIGCURRENCY><CURRATE>0.9<CURSYM>USD</ORIGCURRENCY>');
    const bytes = ofxText({
      org: 'B/K',
      fid: '7',
      account: '<CCACCTFROM><ACCTID>4970</CCACCTFROM>',
      rows: [dollars, converted],
      balance: '-5.70',
    }).replaceAll('STMTRS', 'CCSTMTRS');
    const { statements, bank } = readBytes(Buffer.from(bytes));
    assert.deepEqual([statements[0]?.account.identity, statements[0]?.account.type, bank.org], ['ofx:B%2FK/7//4970', 'card', 'B%2FK/7']);
    assert.deepEqual(
      statements[0]?.observations.map((row) => row.amount.currency),
      ['USD', 'EUR'],
    );
    assert.deepEqual(statements[0]?.closing, { amount: { minor: -570, exponent: 2, currency: 'EUR' }, kind: 'ledger', at: '2025-01-31' });
  });
});
