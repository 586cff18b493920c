/** The order of the statements of one account, and pages put together. */
import type { Statement } from './model.ts';
import { computedClosing, coverageOf } from './proof.ts';
import { readInstant } from './values.ts';

/** By end of period; those of one end by the chain of their balances, then by time of creation, then as in the upload. */
export function orderStatements(statements: readonly Statement[]): Statement[] {
  const byEnd = Map.groupBy(statements, endOf);
  return [...byEnd.keys()].sort().flatMap((end) => orderByChain((byEnd.get(end) ?? []).toSorted((a, b) => createdOf(a) - createdOf(b))));
}

function endOf(statement: Statement): string {
  const dates = statement.observations.flatMap((row) => row.bookingDate ?? row.transactionDate ?? row.valueDate ?? []);
  return statement.periodTo ?? statement.closing?.at ?? dates.reduce((latest, date) => (date > latest ? date : latest), '');
}

function createdOf(statement: Statement): number {
  return (statement.createdAt === null ? null : readInstant(statement.createdAt)) ?? 0;
}

/** Each after the one whose closing balance is its opening balance; where that decides nothing, in the order given. */
export function orderByChain(statements: readonly Statement[]): Statement[] {
  const remaining = [...statements];
  const closings = new Map<string, number>();
  const add = (key: string | null, by: number) => key !== null && closings.set(key, (closings.get(key) ?? 0) + by);
  for (const statement of remaining) add(balanceKey(statement.closing), 1);
  const ordered: Statement[] = [];
  while (remaining.length > 0) {
    const start = remaining.findIndex(({ opening, closing }) => {
      const key = balanceKey(opening);
      return key === null || (closings.get(key) ?? 0) - (balanceKey(closing) === key ? 1 : 0) === 0;
    });
    const [next] = remaining.splice(Math.max(start, 0), 1);
    if (next === undefined) break;
    add(balanceKey(next.closing), -1);
    ordered.push(next);
  }
  return ordered;
}

function balanceKey(balance: Statement['closing']): string | null {
  return balance === null ? null : `${balance.amount.minor}/${balance.amount.exponent}/${balance.amount.currency}`;
}

/** Pages of one statement, wherever they stand in the upload, become one where they are all here; else each stays for itself. */
export function joinPages(statements: readonly Statement[]): Statement[] {
  const groups = Map.groupBy(statements, (statement) => pageGroup(statement) ?? statement);
  return [...groups.values()].flatMap((group) => joined(group) ?? group);
}

function pageGroup({ page, statementId, periodFrom, periodTo }: Statement): string | null {
  return page === null || statementId === null ? null : JSON.stringify([statementId, periodFrom, periodTo]);
}

function joined(group: readonly Statement[]): Statement | null {
  const pages = group.toSorted((a, b) => (a.page?.number ?? 0) - (b.page?.number ?? 0));
  const [first] = pages;
  const last = pages.at(-1);
  if (pages.length < 2 || first === undefined || last === undefined) return null;
  const complete = pages.every(({ page }, index) => page?.number === index + 1 && (page.last === true) === (index === pages.length - 1));
  if (!complete) return null;
  const observations = pages.flatMap((page) => page.observations);
  const opening = first.opening;
  const stated = pages.findLast(({ closing }) => closing?.kind === 'closing-booked')?.closing ?? null;
  const { coverage: _, ...whole } = {
    ...first,
    observations,
    opening,
    closing: stated ?? computedClosing(opening, observations, first.account.currency),
    wholeDays: last.wholeDays ?? first.wholeDays,
    createdAt: last.createdAt,
    page: { number: 1, last: true },
  };
  return { ...whole, coverage: coverageOf(whole) };
}
