/**
 * How a hold becomes a booked row. By default it is the same row, updated. The reference API deletes it and makes a new one
 * under a new id; an application that wants it so (`pending_transition: recreate`) has its matches rewritten here, before
 * anything is counted. Pure.
 */
import type { Created, Deleted, Outcome, StoredTransaction, Updated } from './detection/types.ts';

/**
 * The hold has become another row, so it must neither return nor book again: rows deleted so long ago are not compared.
 * (When it was deleted stands in the changes of its refresh.)
 */
const NOT_COMPARED_AGAIN = 0;

/** The same changes, with each hold that booked as a deletion and a new row. The counts follow. */
export function recreated(outcome: Outcome): Outcome {
  const booked = outcome.updated.filter(({ before, after }) => before.status !== 'booked' && after.status === 'booked');
  if (booked.length === 0) return outcome;
  // A loop: as arguments of one call, 200,000 rows are more than the stack holds.
  const lastPlaceholder = outcome.created.reduce((last, { row }) => Math.min(last, row.id), 0);
  const created: Created[] = [
    ...outcome.created,
    ...booked.map(({ after, observation }, at) => ({
      row: { ...after, id: lastPlaceholder - at - 1 },
      observation,
      cause: 'recreated' as const,
    })),
  ];
  const isBooked = new Set<Updated>(booked);
  const updated = outcome.updated.filter((change) => !isBooked.has(change));
  const gone = booked.filter(({ before }) => before.deletedAt === null);
  const deleted: Deleted[] = [
    ...outcome.deleted,
    ...gone.map(({ before }) => ({ before, row: retired(before), reason: 'recreated' as const })),
  ].sort((a, b) => a.row.id - b.row.id);
  // A hold that was deleted already stays so: only its ids have gone to the new row.
  const returned = booked.filter(({ before }) => before.deletedAt !== null).map(({ before }) => retired(before));
  return {
    ...outcome,
    created,
    updated,
    deleted,
    touched: [...outcome.touched, ...returned].sort((a, b) => a.id - b.id),
    counts: { new: created.length, updated: updated.length, deleted: deleted.length },
  };
}

/** An id of the bank belongs to one row, which is now the new one. */
function retired(row: StoredTransaction): StoredTransaction {
  return { ...row, providerId: null, aliases: [], deletedAt: NOT_COMPARED_AGAIN };
}
