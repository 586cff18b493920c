/** The changes of one batch, each with its reason, and what they come to over several batches. */
import type { Observation } from '../../connectors/connector.ts';
import { countedFieldsDiffer } from './entries.ts';
import type { Created, CreationCause, Deleted, DeletionReason, Evidence, Held, HoldReason, StoredTransaction, Updated } from './types.ts';

export type Change = {
  readonly before: StoredTransaction | null;
  readonly after: StoredTransaction;
  readonly reason: Reason;
};
export type Reason =
  | { readonly kind: 'created'; readonly observation: Observation; readonly cause: CreationCause }
  | { readonly kind: 'matched'; readonly observation: Observation; readonly evidence: Evidence }
  | { readonly kind: 'deleted'; readonly reason: DeletionReason }
  | { readonly kind: 'held'; readonly reason: HoldReason }
  /** The row's id was claimed by another row. */
  | { readonly kind: 'id_lost' }
  /** The list that lacked the row is refuted. */
  | { readonly kind: 'unsuspected' };

/** One row from before the first batch to after the last, with the latest reason of each kind. */
export type Net = {
  readonly before: StoredTransaction | null;
  after: StoredTransaction;
  observation: Observation | null;
  cause: CreationCause | null;
  evidence: Evidence | null;
  deletion: DeletionReason | null;
  hold: HoldReason | null;
};
export type NetChanges = ReadonlyMap<number, Net>;

export function addChanges(net: Map<number, Net>, changes: readonly Change[]): void {
  for (const { before, after, reason } of changes) {
    let row = net.get(after.id);
    if (row === undefined) {
      row = { before, after, observation: null, cause: null, evidence: null, deletion: null, hold: null };
      net.set(after.id, row);
    }
    row.after = after;
    switch (reason.kind) {
      case 'created':
        row.observation = reason.observation;
        row.cause = reason.cause;
        break;
      case 'matched':
        row.observation = reason.observation;
        row.hold = null;
        if (before === null || before.deletedAt !== null || countedFieldsDiffer(before, after)) row.evidence = reason.evidence;
        break;
      case 'deleted':
        row.deletion = reason.reason;
        break;
      case 'held':
        row.hold = reason.reason;
        break;
      case 'unsuspected':
        row.hold = null;
        break;
      case 'id_lost':
        break;
      default:
        reason satisfies never;
    }
  }
}

export type Sorted = {
  readonly created: Created[];
  readonly updated: Updated[];
  readonly deleted: Deleted[];
  readonly held: Held[];
  readonly touched: StoredTransaction[];
};

/** Sorts net changes by what they are counted as; rows that came and went within the refresh are nothing. */
export function sortChanges(net: NetChanges): Sorted {
  const sorted: Sorted = { created: [], updated: [], deleted: [], held: [], touched: [] };
  for (const { before, after, observation, cause, evidence, deletion, hold } of net.values()) {
    const wasLive = before !== null && before.deletedAt === null;
    const isLive = after.deletedAt === null;
    if (before === null) {
      if (isLive && observation !== null && cause !== null) sorted.created.push({ row: after, observation, cause });
    } else if (wasLive && !isLive) {
      if (deletion !== null) sorted.deleted.push({ before, row: after, reason: deletion });
    } else if (isLive && (!wasLive || countedFieldsDiffer(before, after)) && observation !== null && evidence !== null) {
      sorted.updated.push({ before, after, observation, evidence });
    } else if (isLive && hold !== null) {
      sorted.held.push({ row: after, reason: hold });
    } else if (after !== before) {
      // A row that was deleted, came back and went again within the refresh keeps its first deletion.
      sorted.touched.push(isLive ? after : { ...after, deletedAt: before.deletedAt });
    }
  }
  sorted.created.sort((a, b) => b.row.id - a.row.id);
  sorted.updated.sort((a, b) => a.after.id - b.after.id);
  sorted.deleted.sort((a, b) => a.row.id - b.row.id);
  sorted.held.sort((a, b) => a.row.id - b.row.id);
  sorted.touched.sort((a, b) => a.id - b.id);
  return sorted;
}
