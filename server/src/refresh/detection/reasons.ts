/** Why a refresh counted what it counted: one reason for each row that is new, updated, deleted or held. */
import type { CreationCause, Deleted, Evidence, Outcome, StoredTransaction } from './types.ts';

/** What a client can see of a row, and the bank's id of it: what `before` and `after` are compared by. */
export type Face = Pick<
  StoredTransaction,
  'status' | 'amount' | 'date' | 'bookingDate' | 'valueDate' | 'transactionDate' | 'rawText' | 'providerId'
>;

/**
 * `row` is the id of the row; for a new one the negative placeholder of the outcome, until storage gives it an id.
 * `missing`: how many complete lists in a row did not hold it, `missingAt` when that was last found (epoch milliseconds).
 */
export type Reason = { readonly row: number } & (
  | {
      readonly change: 'new';
      readonly stage: 'unmatched';
      readonly evidence: { readonly cause: CreationCause };
      readonly before: null;
      readonly after: Face;
    }
  | {
      readonly change: 'updated';
      readonly stage: Evidence['stage'];
      readonly evidence: Omit<Evidence, 'stage'>;
      /** Of a row that came back: as it was when it was deleted. */
      readonly before: Face;
      readonly after: Face;
    }
  | {
      readonly change: 'deleted' | 'held';
      readonly stage: 'absent';
      readonly evidence: { readonly cause: string; readonly missing: number; readonly missingAt: number | null };
      readonly before: Face;
      /** Null where the row is gone. */
      readonly after: Face | null;
    }
);

/** In the order new, updated, deleted, held. Made one by one, so that a caller that keeps only some pays for only some. */
export function* reasonsOf({ created, updated, deleted, held }: Outcome): Generator<Reason> {
  for (const { row, cause } of created)
    yield { row: row.id, change: 'new', stage: 'unmatched', evidence: { cause }, before: null, after: faceOf(row) };
  for (const { before, after, evidence } of updated) {
    const { stage, ...found } = evidence;
    yield { row: after.id, change: 'updated', stage, evidence: found, before: faceOf(before), after: faceOf(after) };
  }
  for (const gone of deleted) yield { ...absence(gone), change: 'deleted', after: null };
  for (const { row, reason } of held) {
    const face = faceOf(row);
    yield { ...absence({ before: row, row, reason }), change: 'held', after: face };
  }
}

function absence({ before, row, reason }: Omit<Deleted, 'reason'> & { readonly reason: string }) {
  const evidence = { cause: reason, missing: row.missing, missingAt: row.missingAt };
  return { row: row.id, stage: 'absent' as const, evidence, before: faceOf(before) };
}

function faceOf({ status, amount, date, bookingDate, valueDate, transactionDate, rawText, providerId }: StoredTransaction): Face {
  return { status, amount, date, bookingDate, valueDate, transactionDate, rawText, providerId };
}
