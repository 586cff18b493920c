/** What a statement still vouches for beside others of the same account: a later one corrects, an earlier one never does. */
import type { CalendarDate, Coverage } from '../connector.ts';
import type { Statement } from './model.ts';
import { NOTHING_VOUCHED } from './proof.ts';
import { readInstant } from './values.ts';

/** What is remembered of a statement, so that an upload of another day is judged beside it. JSON. */
export type StatementMark = {
  identity: string;
  from: CalendarDate | null;
  to: CalendarDate | null;
  createdAt: string | null;
  /** Balances as `minor/exponent`, for the chain; null where unknown. */
  opening: string | null;
  closing: string | null;
};

export function markOf(statement: Statement): StatementMark {
  const { account, periodFrom, periodTo, opening, closing, createdAt, observations } = statement;
  const dates = observations.flatMap((row) => row.bookingDate ?? row.valueDate ?? row.transactionDate ?? []).sort();
  return {
    identity: account.handle,
    from: periodFrom ?? dates[0] ?? null,
    to: periodTo ?? dates.at(-1) ?? null,
    createdAt,
    opening: opening === null ? null : `${opening.amount.minor}/${opening.amount.exponent}`,
    closing: closing === null ? null : `${closing.amount.minor}/${closing.amount.exponent}`,
  };
}

/**
 * The statement's coverage among the marks of its account (its own is at `ownIndex`). It keeps it where it was created after every
 * statement that shares a day with it, and where none of those carries on from its closing balance or it from theirs: two halves of one
 * day each prove their own sum, and neither says anything of the other's rows.
 */
export function coverageBeside(statement: Statement, ownIndex: number, marks: readonly StatementMark[]): Coverage {
  const own = marks[ownIndex];
  const [days] = statement.coverage.windows;
  if (own === undefined || days === undefined || !statement.coverage.bookedComplete) return statement.coverage;
  const created = own.createdAt === null ? null : readInstant(own.createdAt);
  for (const [index, other] of marks.entries()) {
    const overlaps = other.from !== null && other.to !== null && other.from <= days.to && days.from <= other.to;
    if (index === ownIndex || other.identity !== own.identity || !overlaps) continue;
    const otherCreated = other.createdAt === null ? null : readInstant(other.createdAt);
    const isLater = created !== null && otherCreated !== null && created > otherCreated;
    if (!isLater || isSequel(own, other)) return NOTHING_VOUCHED;
  }
  return statement.coverage;
}

/** Whether one begins where the other ends, rather than both beginning alike. */
function isSequel(a: StatementMark, b: StatementMark): boolean {
  if (a.opening === null || b.opening === null || a.opening === b.opening) return false;
  return a.closing === b.opening || b.closing === a.opening;
}
