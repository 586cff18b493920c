/** The files of one upload as batches: which apply, in which order, and what each still vouches for beside the others. */
import type { Batch, ObservedAccount } from '../connector.ts';
import { UPLOAD_MAX_FILES, UPLOAD_MAX_ROWS, UPLOAD_MAX_STATEMENTS } from './limits.ts';
import type { FileBank, Statement, StatementFile } from './model.ts';
import { joinPages, orderByChain, orderStatements } from './order.ts';
import { noFile, type Problem, problem, tooManyFiles } from './problems.ts';
import { coverageBeside, markOf, type StatementMark } from './standing.ts';

/** What is known of the item before the upload. `marks` are those that earlier uploads returned; without them only this upload is compared. */
export type KnownItem = { bank: FileBank | null; importedHashes: readonly string[]; marks?: readonly StatementMark[] };

export type UploadedAccount = { account: ObservedAccount; batches: Batch[] };

export type CombinedUpload = {
  ok: true;
  /** In order of first appearance; batches in the order in which they apply. */
  accounts: UploadedAccount[];
  /** Hashes to remember: the files of this upload that were not there before. */
  hashes: string[];
  /** Names of the files that the item, or this upload, already has: they change nothing. */
  duplicates: string[];
  /** The item's bank, with what this upload adds. */
  bank: FileBank;
  /** To remember, and to give back as `marks` at the next upload. */
  marks: StatementMark[];
};

export type CombineOutcome = CombinedUpload | { ok: false; problems: Problem[] };

/**
 * Pure. Nothing of an upload is kept where one of its files is refused. Each statement is one batch with its own balance
 * and `at`; a consumer must leave its balance alone where the batch's `at` is earlier than what it has. Of several
 * closings on one date only the last in the chain is given.
 *
 * Overlapping statements need nothing here: each batch is matched as a multiset against what is stored by then, so that
 * a row ends with the largest multiplicity that any of them shows.
 */
export function combineUpload(files: readonly StatementFile[], item: KnownItem): CombineOutcome {
  if (files.length === 0) return { ok: false, problems: [noFile()] };
  if (files.length > UPLOAD_MAX_FILES) return { ok: false, problems: [tooManyFiles()] };
  const { fresh, duplicates } = withoutKnown(files, item.importedHashes);
  const { bank, problems } = agreeOnBank(files, item.bank);
  const tooLarge = checkSize(fresh);
  if (tooLarge !== null) problems.push(tooLarge);
  if (problems.length > 0) return { ok: false, problems };

  const accounts: UploadedAccount[] = [];
  const marks: StatementMark[] = [];
  for (const statements of byAccount(fresh)) {
    const [first] = statements;
    if (first === undefined) continue;
    const ordered = orderStatements(joinPages(statements));
    const batches = toBatches(ordered, item.marks ?? []);
    accounts.push({ account: ordered.at(-1)?.account ?? first.account, batches });
    for (const statement of ordered) marks.push(markOf(statement));
  }
  return { ok: true, accounts, hashes: fresh.map((file) => file.hash), duplicates, bank, marks };
}

function withoutKnown(
  files: readonly StatementFile[],
  importedHashes: readonly string[],
): { fresh: StatementFile[]; duplicates: string[] } {
  const seen = new Set(importedHashes);
  const fresh: StatementFile[] = [];
  const duplicates: string[] = [];
  for (const file of files) {
    if (seen.has(file.hash)) duplicates.push(file.name);
    else fresh.push(file);
    seen.add(file.hash);
  }
  return { fresh, duplicates };
}

/** The first file that names a bank names it for the rest; one that does not say is accepted. */
function agreeOnBank(files: readonly StatementFile[], known: FileBank | null): { bank: FileBank; problems: Problem[] } {
  const bank: FileBank = { bankCode: known?.bankCode ?? null, org: known?.org ?? null };
  const problems: Problem[] = [];
  for (const file of files) {
    for (const key of ['bankCode', 'org'] as const) {
      const found = file.bank[key];
      const expected = bank[key];
      if (found === null) continue;
      if (expected === null) bank[key] = found;
      else if (found !== expected) problems.push(problem(file.name, { code: 'another_bank', found, expected }));
    }
  }
  return { bank, problems };
}

/** The file with which the upload becomes too large. */
function checkSize(files: readonly StatementFile[]): Problem | null {
  let rows = 0;
  let statements = 0;
  for (const file of files) {
    statements += file.statements.length;
    for (const statement of file.statements) rows += statement.observations.length;
    if (rows > UPLOAD_MAX_ROWS) return problem(file.name, { code: 'too_many_rows' });
    if (statements > UPLOAD_MAX_STATEMENTS) return problem(file.name, { code: 'too_many_statements' });
  }
  return null;
}

function byAccount(files: readonly StatementFile[]): Iterable<Statement[]> {
  const groups = new Map<string, Statement[]>();
  for (const statement of files.flatMap((file) => file.statements)) {
    const identity = statement.account.handle;
    const group = groups.get(identity);
    if (group === undefined) groups.set(identity, [statement]);
    else group.push(statement);
  }
  return groups.values();
}

function toBatches(ordered: readonly Statement[], imported: readonly StatementMark[]): Batch[] {
  const marks = [...ordered.map(markOf), ...imported];
  const superseded = supersededBalances(ordered);
  return ordered.map((statement, index) => ({
    observations: statement.observations,
    coverage: coverageBeside(statement, index, marks),
    balance: superseded.has(statement) ? null : statement.closing,
  }));
}

/** Of the closings of one date, all but the last in the chain; a stated one goes before a computed one. */
function supersededBalances(ordered: readonly Statement[]): Set<Statement> {
  const superseded = new Set<Statement>();
  const byDate = Map.groupBy(
    ordered.filter(({ closing }) => closing !== null),
    ({ closing }) => closing?.at ?? '',
  );
  for (const group of byDate.values()) {
    const stated = group.filter(({ closing }) => closing?.kind !== 'computed');
    const last = orderByChain(stated.length > 0 ? stated : group).at(-1);
    for (const statement of group) if (statement !== last) superseded.add(statement);
  }
  return superseded;
}
