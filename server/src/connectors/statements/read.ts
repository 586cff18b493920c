/** One uploaded file, from its bytes to its statements. Never throws: what cannot be read is a sentence. */
import { createHash } from 'node:crypto';
import { readCamt } from './camt.ts';
import { decodeFile } from './decode.ts';
import { bankCodeOf } from './iban.ts';
import { FILE_MAX_BYTES, UPLOAD_MAX_ROWS } from './limits.ts';
import type { ReadOutcome, Statement } from './model.ts';
import { readOfx } from './ofx.ts';
import { type Issue, problem } from './problems.ts';
import { readSgml } from './sgml.ts';
import { readXml } from './xml.ts';

/** Characters in which a file must show what it is. */
const HEAD_CHARACTERS = 64 * 1024;

/** `name` is what the user calls the file; the kind is found in the content alone. */
export function readStatementFile(name: string, bytes: Uint8Array): ReadOutcome {
  if (bytes.length > FILE_MAX_BYTES) return { ok: false, problem: problem(name, { code: 'too_large' }) };
  const text = decodeFile(bytes)
    .replace(/^\ufeff/, '')
    .trimStart();
  if (text === '') return { ok: false, problem: problem(name, { code: 'empty' }) };
  const read = readText(text, linesTrimmed(bytes));
  if ('code' in read) return { ok: false, problem: problem(name, read) };
  const bankCodes = new Set(read.statements.flatMap(({ account }) => (account.iban === null ? [] : (bankCodeOf(account.iban) ?? []))));
  const [bankCode, other] = bankCodes;
  if (bankCode !== undefined && other !== undefined) {
    return { ok: false, problem: problem(name, { code: 'several_banks', expected: bankCode, found: other }) };
  }
  const hash = createHash('sha256').update(bytes).digest('hex');
  return {
    ok: true,
    file: { name, kind: read.kind, hash, bank: { bankCode: bankCode ?? null, org: read.org }, statements: read.statements },
  };
}

type Read = { kind: 'camt.053' | 'ofx'; org: string | null; statements: Statement[] };

function readText(text: string, linesBefore: number): Read | Issue {
  const found = readKind(text);
  return 'line' in found ? { ...found, line: found.line + linesBefore } : found;
}

function readKind(text: string): Read | Issue {
  const head = text.slice(0, HEAD_CHARACTERS);
  const isXml = /^<\?(xml|OFX)\b/i.test(head);
  if (/<OFX[\s>]/i.test(head) && /^(OFXHEADER|DATA:|<OFX[\s>]|<\?)/i.test(head)) {
    const reading = readOfx();
    const issue = isXml ? readXml(text, upperCased(reading.visit)) : readSgml(text, reading.visit);
    return outcome(reading, issue, 'ofx', reading.org());
  }
  if (!head.startsWith('<')) return { code: 'unknown_kind' };
  if (!/<(?:[\w.-]+:)?BkToCstmrStmt[\s>]/.test(head)) return otherXml(text, head);
  const reading = readCamt();
  return outcome(reading, readXml(text, reading.visit), 'camt.053', null);
}

type Reading = ReturnType<typeof readCamt>;

function outcome(reading: Reading, unreadable: Issue | null, kind: Read['kind'], org: string | null): Read | Issue {
  if (unreadable !== null) return unreadable;
  const statements = reading.finish();
  const issue = reading.issue();
  if (issue !== null) return issue;
  if (reading.rowCount() > UPLOAD_MAX_ROWS) return { code: 'too_many_rows' };
  return statements.length === 0 ? { code: 'no_account' } : { kind, org, statements };
}

/** Not a statement; but a DTD is named as such, and the reports that banks offer beside CAMT.053 too. */
function otherXml(text: string, head: string): Issue {
  const report = /<(?:[\w.-]+:)?(BkToCstmrAcctRpt|BkToCstmrDbtCdtNtfctn)[\s>]/.exec(head)?.[1];
  if (report !== undefined) return { code: 'another_report', found: report === 'BkToCstmrAcctRpt' ? 'CAMT.052' : 'CAMT.054' };
  const issue = readXml(text, () => 'drop');
  return issue?.code === 'contains_dtd' ? issue : { code: 'unknown_kind' };
}

/** OFX names are upper case; some writers of XML use another. */
function upperCased(visit: Reading['visit']): Reading['visit'] {
  return (element, parentName) => {
    element.name = element.name.toUpperCase();
    return visit(element, parentName);
  };
}

/** Blank lines before the content, so that the lines of sentences are those of the file. */
function linesTrimmed(bytes: Uint8Array): number {
  let lines = 0;
  for (const byte of bytes) {
    if (byte === 0x0a) lines += 1;
    else if (byte !== 0x0d && byte !== 0x20 && byte !== 0x09) break;
  }
  return lines;
}
