import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { toNumber } from '../../base/money.ts';
import type { AuthenticationRequest, Batch, Json } from '../connector.ts';
import { type CombinedUpload, combineUpload, type KnownItem } from './combine.ts';
import { statementsConnector, UPLOAD_FIELD } from './connector.ts';
import { camtFile, entry, type StatementOptions } from './fixtures/camt.ts';
import { ofxFile, ofxRow } from './fixtures/ofx.ts';
import { UPLOAD_MAX_FILES } from './limits.ts';
import type { StatementFile } from './model.ts';
import { readStatementFile } from './read.ts';
import { decodeUpload, knownItem } from './upload.ts';

const NEW: KnownItem = { bank: null, importedHashes: [] };

function file(name: string, bytes: Uint8Array): StatementFile {
  const outcome = readStatementFile(name, bytes);
  assert.ok(outcome.ok, outcome.ok ? '' : outcome.problem.sentence);
  return outcome.file;
}

const camt = (name: string, ...statements: StatementOptions[]) => file(name, camtFile(statements));

function combined(files: StatementFile[], item = NEW): CombinedUpload {
  const outcome = combineUpload(files, item);
  assert.ok(outcome.ok, outcome.ok ? '' : outcome.problems.map((problem) => problem.sentence).join(' '));
  return outcome;
}

const batchesOf = (files: StatementFile[], item = NEW) => combined(files, item).accounts[0]!.batches;
const balances = (batches: Batch[]) => batches.map(({ balance }) => balance && toNumber(balance.amount));
const vouching = (batches: Batch[]) => batches.map(({ coverage }) => coverage.bookedComplete);

/** A month that proves itself: 100.00, then the rows. */
function month(createdAt: string, closing: string, amounts: string[], more: StatementOptions = {}): StatementOptions {
  return {
    from: '2025-01-01T00:00:00',
    to: '2025-01-31T23:59:59',
    createdAt,
    opening: ['100.00', '2025-01-01'],
    closings: [[closing, '2025-01-31']],
    entries: amounts.map((amount) => entry(amount, '2025-01-10')),
    ...more,
  };
}

describe('the files of an upload', () => {
  test('of another bank are refused with both names; unknown is accepted', () => {
    const [bnp, other] = [camt('a.xml', { iban: 'FR7630004000001234567890185' }), camt('b.xml', {})];
    const outcome = combineUpload([bnp, other], NEW);
    assert.ok(!outcome.ok);
    assert.equal(outcome.problems[0]?.sentence, 'The file “b.xml” comes from the bank FR:30003, but this connection is for FR:30004.');
    assert.equal(combineUpload([other], { ...NEW, bank: { bankCode: 'FR:30004', org: null } }).ok, false);
    const ofx = file('c.ofx', ofxFile({ org: 'BANK', fid: '1' }));
    assert.deepEqual(combined([bnp, ofx, file('d.ofx', ofxFile({}))]).bank, { bankCode: 'FR:30004', org: 'BANK/1' });
    assert.equal(combineUpload([ofx], { ...NEW, bank: { bankCode: null, org: 'BANK/2' } }).ok, false);
  });

  test('that are there already change nothing, also within the upload', () => {
    const january = camt('a.xml', month('2025-02-01T00:00:00Z', '90.00', ['-10.00']));
    const first = combined([january, { ...january, name: 'copy.xml' }]);
    assert.deepEqual([first.hashes, first.duplicates], [[january.hash], ['copy.xml']]);
    const again = combined([january], { ...NEW, importedHashes: first.hashes });
    assert.deepEqual([again.accounts, again.hashes, again.duplicates], [[], [], ['a.xml']]);
  });

  test('are at least one and at most fifty', () => {
    const one = camt('a.xml', {});
    assert.equal(combineUpload([], NEW).ok, false);
    assert.equal(
      combineUpload(
        Array.from({ length: UPLOAD_MAX_FILES + 1 }, () => one),
        NEW,
      ).ok,
      false,
    );
  });

  test('apply by end of period, whatever their order, with the balance of each', () => {
    const statement = (monthNumber: string, closing: string) =>
      camt(`${monthNumber}.xml`, {
        id: monthNumber,
        from: `2025-${monthNumber}-01T00:00:00`,
        to: `2025-${monthNumber}-28T23:59:59`,
        closings: [[closing, `2025-${monthNumber}-28`]],
      });
    const files = [statement('03', '3'), statement('01', '1'), statement('02', '2')];
    assert.deepEqual(balances(batchesOf(files)), [1, 2, 3]);
    assert.deepEqual(batchesOf(files.toReversed()), batchesOf(files));
    assert.deepEqual(
      batchesOf(files).map(({ balance }) => balance?.at),
      ['2025-01-28', '2025-02-28', '2025-03-28'],
    );
  });

  test('with two closings on one date follow the chain from opening to closing', () => {
    const day: StatementOptions = { from: '2025-01-31T00:00:00', to: '2025-01-31T23:59:59', createdAt: '2025-02-01T06:00:00Z' };
    const morning: StatementOptions = {
      ...day,
      id: 'A',
      opening: ['100', '2025-01-31'],
      closings: [['70', '2025-01-31']],
      entries: [entry('-30', '2025-01-31')],
    };
    const evening: StatementOptions = {
      ...day,
      id: 'B',
      opening: ['70', '2025-01-31'],
      closings: [['85', '2025-01-31']],
      entries: [entry('15', '2025-01-31')],
    };
    for (const statements of [
      [morning, evening],
      [evening, morning],
    ]) {
      const batches = batchesOf([camt('a.xml', ...statements)]);
      assert.deepEqual(
        batches.map(({ observations }) => observations.map((row) => toNumber(row.amount))),
        [[-30], [15]],
      );
      assert.deepEqual(balances(batches), [null, 85]);
      assert.deepEqual(vouching(batches), [false, false]);
    }
  });

  test('that overlap give all their rows, so that matching keeps the largest multiplicity', () => {
    const one = file('a.ofx', ofxFile({ rows: [ofxRow('-2', '20250110', null, 'CAFE'), ofxRow('-2', '20250110', null, 'CAFE')] }));
    const two = file('b.ofx', ofxFile({ rows: [ofxRow('-2', '20250110', null, 'CAFE')] }));
    const batches = batchesOf([one, two]);
    assert.deepEqual(
      batches.map(({ observations }) => observations.length),
      [2, 1],
    );
    assert.deepEqual(vouching(batches), [false, false]);
  });
});

describe('a statement of the same period', () => {
  const early = month('2025-02-01T06:00:00Z', '80.00', ['-10.00', '-10.00']);
  const late = month('2025-02-03T06:00:00+02:00', '90.00', ['-10.00']);

  test('deletes at once where it was created later, and never where earlier', () => {
    for (const files of [
      [camt('a.xml', early), camt('b.xml', late)],
      [camt('b.xml', late), camt('a.xml', early)],
    ]) {
      const batches = batchesOf(files);
      assert.deepEqual(vouching(batches), [false, true]);
      assert.equal(batches[1]?.coverage.absenceIsFinal, true);
      assert.deepEqual(balances(batches), [null, 90]);
    }
  });

  test('also in an upload of another day', () => {
    const marks = (options: StatementOptions) => ({ ...NEW, marks: combined([camt('a.xml', options)]).marks });
    assert.deepEqual(vouching(batchesOf([camt('b.xml', late)], marks(early))), [true]);
    assert.deepEqual(vouching(batchesOf([camt('a.xml', early)], marks(late))), [false]);
    assert.deepEqual(vouching(batchesOf([camt('a.xml', early)], marks(early))), [false]);
  });

  test('pages become one statement where all are there', () => {
    const first = month('2025-02-01T06:00:00Z', '0', ['-10.00'], { page: [1, false], closings: [] });
    const second = month('2025-02-01T06:00:00Z', '85.00', ['-5.00'], { page: [2, true] });
    const { opening: _, ...withoutOpening } = second;
    const batches = batchesOf([camt('2.xml', withoutOpening), camt('1.xml', first)]);
    assert.deepEqual([batches.length, vouching(batches), balances(batches)], [1, [true], [85]]);
    assert.deepEqual(vouching(batchesOf([camt('2.xml', withoutOpening)])), [false]);
  });
});

describe('the connector', () => {
  const signal = new AbortController().signal;
  const ask = (credentials: AuthenticationRequest['credentials'], kept: Json = null) =>
    statementsConnector.authenticate(
      { itemId: 1, credentials, attended: true, answer: null, refreshIndex: 0, connectedAt: 0, kept, now: 0, challengedAt: null },
      signal,
    );
  const january = { name: 'a.xml', bytes: camtFile([month('2025-02-01T00:00:00Z', '90.00', ['-10.00'])]) };

  test('without a file asks for the user', async () => {
    assert.deepEqual(await ask({}), { kind: 'failed', status: 1010, info: 'OTP_REQUIRED' });
    assert.deepEqual(await ask({ [UPLOAD_FIELD]: '{"version":0}' }), { kind: 'failed', status: 1010, info: 'OTP_REQUIRED' });
    assert.equal(decodeUpload('not JSON'), null);
  });

  test('says what is wrong with each file, and keeps nothing of the upload', async () => {
    const read = await statementsConnector.readFiles!(
      [january, { name: 'b.csv', bytes: Buffer.from('x') }, { name: 'c.ofx', bytes: Buffer.from('') }],
      null,
    );
    assert.deepEqual(!read.ok && read.problems.map(({ fileName }) => fileName), ['b.csv', 'c.ofx']);
    assert.equal(!read.ok && read.problems[1]?.sentence.fr, 'Le fichier «\u00a0c.ofx\u00a0» est vide.');
  });

  test('gives back what the upload says; only the first is the whole history, and it is recognised later', async () => {
    let kept: Json = null;
    for (const isFirst of [true, false]) {
      const read = await statementsConnector.readFiles!([january, { name: 'b.ofx', bytes: ofxFile({ fid: isFirst ? '1' : '' }) }], kept);
      assert.ok(read.ok);
      const authenticated = await ask(read.credentials, kept);
      assert.ok(authenticated.kind === 'authenticated');
      const request = { itemId: 1, session: authenticated.session, now: 0 };
      const list = await statementsConnector.listAccounts(request, signal);
      assert.ok(list.kind === 'accounts');
      assert.deepEqual([list.complete, list.accounts.map(({ currency }) => currency)], [false, isFirst ? ['EUR', 'EUR'] : ['EUR']]);
      const fetched = await statementsConnector.fetchAccount({ ...request, account: list.accounts[0]!, phase: 'full', from: null }, signal);
      assert.ok(fetched.kind === 'fetched');
      assert.deepEqual(
        fetched.batches.map(({ coverage }) => coverage.historyComplete),
        [isFirst],
      );
      kept = authenticated.keep ?? null;
    }
    assert.equal(JSON.stringify(knownItem(kept).importedHashes.map((hash) => hash.length)), '[64,64,64]');
    assert.deepEqual(knownItem(kept).bank, { bankCode: 'FR:30003', org: '/1' });
    const later = month('2025-01-31T00:00:00Z', '100.00', []);
    const stale = await statementsConnector.readFiles!([{ name: 'old.xml', bytes: camtFile([later]) }], kept);
    assert.ok(stale.ok);
    assert.equal(decodeUpload(stale.credentials[UPLOAD_FIELD]!)?.accounts[0]?.batches[0]?.coverage.bookedComplete, false);
  });
});
