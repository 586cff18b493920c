/** A plan becomes rows, which are written inside the transaction that ends its refresh. */
import { type AccountOwner, type WrittenAccount, writeAccounts } from '../accounts/accounts.ts';
import type { Observation } from '../connectors/connector.ts';
import type { Writer } from '../storage/storage.ts';
import { type ChangeRecord, shownRow, type WrittenChange, writeChanges } from '../transactions/changes.ts';
import { cleanDescription } from '../transactions/describe.ts';
import { type TransactionRecord, type WrittenTransaction, writeTransactions } from '../transactions/transactions.ts';
import { reasonsOf } from './detection/reasons.ts';
import type { Plan, PlannedAccount } from './plan.ts';

const UNCATEGORISED = 1;

/** What refreshes write beside their records, items and events. */
export type PlanRows = {
  readonly accounts: readonly WrittenAccount[];
  readonly transactions: readonly WrittenTransaction[];
  readonly changes: readonly WrittenChange[];
};

/** `rowIds` are for the new rows, `timestamps` those of the plan's events. */
export function rowsOfPlan(
  owner: AccountOwner,
  refreshId: string,
  plan: Plan,
  rowIds: readonly number[],
  timestamps: readonly number[],
): PlanRows {
  const numbered = numberedRows(plan, rowIds);
  const now = timestamps.at(-1)!;
  return {
    accounts: plan.accounts.flatMap(({ isNew, changed, record: account }) => (isNew || changed ? [{ owner, account, now }] : [])),
    transactions: transactionsOf(owner.userUuid, plan, numbered, timestamps),
    changes: plan.accounts.flatMap((account) => changesOf(account, numbered).map((change) => ({ refreshId, change }))),
  };
}

/** Three statements at most, whatever has changed and in however many refreshes, sent together. */
export async function writeRows(tx: Writer, ofPlans: readonly PlanRows[]): Promise<void> {
  await Promise.all([
    writeAccounts(
      tx,
      ofPlans.flatMap(({ accounts }) => accounts),
    ),
    writeTransactions(
      tx,
      ofPlans.flatMap(({ transactions }) => transactions),
    ),
    writeChanges(
      tx,
      ofPlans.flatMap(({ changes }) => changes),
    ),
  ]);
}

/** About how many rows {@link rowsOfPlan} makes: each counted row has its reason beside it. */
export function rowsWritten({ accounts }: Plan): number {
  let rows = 0;
  for (const {
    isNew,
    changed,
    rows: { created, counted, uncounted },
  } of accounts) {
    rows += (isNew || changed ? 1 : 0) + 2 * (created.length + counted.length) + uncounted.length;
  }
  return rows;
}

/** Ids in the place of the placeholders, which are unique within an account only. */
type Numbered = ReadonlyMap<PlannedAccount['rows']['created'][number]['row'], number>;

function numberedRows(plan: Plan, rowIds: readonly number[]): Numbered {
  const born = plan.accounts.flatMap(({ rows }) => rows.created);
  return new Map(born.map(({ row }, at) => [row, rowIds[at]!]));
}

/**
 * Rows that an event counts carry that event's timestamp, so that `updated?since=` its timestamp answers exactly them;
 * what is not counted (a hold, an id learned) keeps its own.
 */
function transactionsOf(userUuid: string, plan: Plan, numbered: Numbered, timestamps: readonly number[]): WrittenTransaction[] {
  return plan.accounts.flatMap(({ record: { id: accountId }, event, rows, outcome }) => {
    const updatedAt = event === null ? null : timestamps[event]!;
    const born = rows.created.map(({ row, observation }) => ({
      userUuid,
      accountId,
      record: { ...row, id: numbered.get(row)! },
      presentation: {
        cleanDescription: cleanDescription(row.rawText),
        categoryId: observation.categoryId ?? UNCATEGORISED,
        showClientSide: isShown(observation),
      },
      updatedAt: updatedAt ?? timestamps.at(-1)!,
    }));
    const existing = (record: TransactionRecord, presentation: WrittenTransaction['presentation'], at: number | null) => ({
      ...{ userUuid, accountId, record, presentation },
      updatedAt: at,
    });
    // The clean label is a function of the bank's, which may be what has changed; whether clients show the row is the bank's to say
    // as well: of a deferred card, no longer once the linked account has it. One that is deleted keeps both.
    const seen = new Map(outcome?.updated.map(({ after, observation }) => [after.id, observation]));
    const counted = rows.counted.map((record) => {
      const observation = seen.get(record.id);
      const shown = observation && { cleanDescription: cleanDescription(record.rawText), showClientSide: isShown(observation) };
      return existing(record, shown ?? null, updatedAt);
    });
    return [...born, ...counted, ...rows.uncounted.map((record) => existing(record, null, null))];
  });
}

function isShown({ showClientSide }: Pick<Observation, 'showClientSide'>): boolean {
  return showClientSide ?? true;
}

/** One for each counted row: the reasons of change detection, but for what is held, which the record sums up. */
function changesOf({ record, outcome, rows }: PlannedAccount, numbered: Numbered): ChangeRecord[] {
  if (outcome === null || rows.created.length + rows.counted.length === 0) return [];
  const ids = new Map(rows.created.map(({ row }) => [row.id, numbered.get(row)!]));
  const returned = new Set(outcome.updated.filter(({ before }) => before.deletedAt !== null).map(({ after }) => after.id));
  const changes: ChangeRecord[] = [];
  for (const { row, change, stage, evidence, before, after } of reasonsOf(outcome)) {
    if (change === 'held') break;
    changes.push({
      accountId: record.id,
      transactionId: ids.get(row) ?? row,
      kind: change === 'updated' && returned.has(row) ? 'resurrected' : change,
      stage,
      evidence,
      before: before && shownRow(before),
      after: after && shownRow(after),
    });
  }
  return changes;
}
