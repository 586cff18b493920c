import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { camtFile, camtText, entry } from './fixtures/camt.ts';
import { ofxFile, ofxRow, ofxText } from './fixtures/ofx.ts';
import { DEPTH_MAX_LEVELS, FILE_MAX_BYTES, UPLOAD_MAX_ROWS } from './limits.ts';
import type { Problem } from './problems.ts';
import { readStatementFile } from './read.ts';

const CAMT = camtText([{ opening: ['100', '2025-01-01'], closings: [['60', '2025-01-31']], entries: [entry('-40', '2025-01-10')] }]);
const OFX = ofxText({ rows: [ofxRow('-1.50', '20250110', 'A', 'CAFE')], balance: '12.00' });

function refused(text: string | Uint8Array, name = 'mars.txt'): Problem {
  const outcome = readStatementFile(name, typeof text === 'string' ? Buffer.from(text) : text);
  assert.ok(!outcome.ok, 'the file should be refused');
  return outcome.problem;
}

describe('a file that cannot be read is a sentence', () => {
  test('that names the file and what is wrong, in both languages', () => {
    const problem = refused(CAMT.replace('>40<', '>quarante<'), 'relevé.xml');
    assert.equal(problem.code, 'bad_amount');
    assert.match(problem.sentence, /^The file “relevé\.xml” has at line \d+ an amount that cannot be read: “quarante”\.$/);
    assert.match(
      problem.sentenceFr,
      /^Le fichier «\u00a0relevé\.xml\u00a0» a à la ligne \d+ un montant illisible\u00a0: «\u00a0quarante\u00a0»\.$/,
    );
    const line = CAMT.split('\n').findIndex((text) => text.includes('>40<')) + 1;
    assert.ok(problem.sentence.includes(`line ${line} `));
    assert.equal(refused('', 'a\u202e\nb.xml').fileName, 'a b.xml');
  });

  test('for each kind of fault', () => {
    const cases: [code: string, content: string | Uint8Array][] = [
      ['empty', ''],
      ['empty', ' \r\n'],
      ['unknown_kind', 'date;label;amount\n2025-01-01;CAFE;-1'],
      ['unknown_kind', '%PDF-1.7'],
      ['unknown_kind', '<?xml version="1.0"?><feed><entry/></feed>'],
      ['unknown_kind', Uint8Array.from([0x50, 0x4b, 3, 4, 0, 0, 0xff])],
      ['another_report', CAMT.replaceAll('BkToCstmrStmt', 'BkToCstmrAcctRpt')],
      ['truncated', CAMT.slice(0, CAMT.indexOf('</Ntry>'))],
      ['truncated', OFX.slice(0, OFX.indexOf('</STMTTRN>'))],
      ['malformed', CAMT.replace('</Acct>', '</Account>')],
      ['malformed', CAMT.replace('<Acct>', '<Acct>&unknown;')],
      ['no_account', CAMT.replace(/<Stmt>[\s\S]*<\/Stmt>/, '')],
      ['no_account', '<OFX><SIGNONMSGSRSV1></SIGNONMSGSRSV1></OFX>'],
      ['no_sign', CAMT.replace(/<CdtDbtInd>DBIT/, '<CdtDbtInd>')],
      ['bad_date', CAMT.replace('2025-01-10', '2025-02-30')],
      ['bad_date', OFX.replace('20250110', '20251310')],
      ['no_date', OFX.replace('<DTPOSTED>20250110', '')],
      ['bad_amount', OFX.replace('-1.50', 'lots')],
      ['bad_amount', OFX.replace('-1.50', '99999999999999999999')],
      ['bad_amount', OFX.replace('-1.50', '')],
      ['no_currency', OFX.replace('<CURDEF>EUR', '')],
      ['several_banks', camtFile([{ iban: 'FR7630003000001234567890185' }, { iban: 'FR7610278000001234567890185' }])],
    ];
    for (const [code, content] of cases) assert.equal(refused(content).code, code, String(content).slice(0, 80));
  });

  test('a DTD or an entity is refused before it can grow', () => {
    const entities = Array.from({ length: 9 }, (_, index) => `<!ENTITY e${index + 1} "${`&e${index};`.repeat(10)}">`).join('');
    const bomb = `<!DOCTYPE Document [<!ENTITY e0 "ha">${entities}]>`;
    assert.equal(refused(CAMT.replace('<Document', `${bomb}<Document`)).code, 'contains_dtd');
    assert.equal(refused(`<?xml version="1.0"?>${bomb}<lolz>&e9;</lolz>`).code, 'contains_dtd');
    assert.equal(refused(CAMT.replace('<Document', '<!DOCTYPE Document SYSTEM "http://localhost/x"><Document')).code, 'contains_dtd');
    assert.equal(refused(OFX.replace('<SIGNONMSGSRSV1>', '<!ENTITY a "b"><SIGNONMSGSRSV1>')).code, 'contains_dtd');
  });
});

describe('limits', () => {
  test('20 MB and one byte', () => {
    assert.equal(refused(new Uint8Array(FILE_MAX_BYTES + 1)).code, 'too_large');
    const full = new Uint8Array(FILE_MAX_BYTES).fill(0x20);
    full.set(Buffer.from(OFX));
    assert.ok(readStatementFile('full.ofx', full).ok);
  });

  test('depth', () => {
    const nested = (count: number) => CAMT.replace('<Acct>', `${'<X>'.repeat(count)}${'</X>'.repeat(count)}<Acct>`);
    assert.equal(refused(nested(DEPTH_MAX_LEVELS)).code, 'too_deep');
    assert.ok(readStatementFile('a', Buffer.from(nested(DEPTH_MAX_LEVELS - 3))).ok);
    assert.equal(refused(`<OFX>${'<A>'.repeat(100_000)}</OFX>`).code, 'too_deep');
  });

  test('rows', () => {
    const row = '<STMTTRN><DTPOSTED>20250110<TRNAMT>-1</STMTTRN>';
    assert.equal(refused(ofxFile({ rows: Array.from({ length: UPLOAD_MAX_ROWS + 1 }, () => row) })).code, 'too_many_rows');
  });
});

describe('whatever the bytes', () => {
  const holds = (bytes: Uint8Array) => {
    const outcome = readStatementFile('any', bytes);
    if (outcome.ok) assert.ok(outcome.file.statements.length > 0);
    else assert.match(outcome.problem.sentence, /^The file “any” .+\.$/);
  };

  test('random bytes', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), holds), { numRuns: 500 });
  });

  test('statements with a piece cut out, doubled or overwritten', () => {
    const damaged = fc.tuple(
      fc.constantFrom(CAMT, OFX),
      fc.nat(),
      fc.nat(60),
      fc.oneof(fc.string(), fc.constantFrom('<', '>', '</', '&', '<STMTTRN>', '</STMTRS>', '</Ntry>', '<![CDATA[', '<!--', '\0')),
    );
    fc.assert(
      fc.property(damaged, ([text, at, length, piece]) => {
        const start = at % text.length;
        holds(Buffer.from(text.slice(0, start) + piece + text.slice(start + length)));
      }),
      { numRuns: 2000 },
    );
  });

  test('a file cut anywhere before its end is refused', () => {
    for (const text of [CAMT, OFX]) for (let end = 0; end < text.length - 1; end += 7) refused(text.slice(0, end));
  });
});
