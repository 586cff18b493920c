/** Transactions: the snapshot, the list of changes, and one (contract, sections 3.7 and 5). */
import { z } from 'zod';
import { findUserAccount } from '../../accounts/read.ts';
import { isoTimestamp } from '../../base/clock.ts';
import { Refusal } from '../../base/errors.ts';
import { toNumber } from '../../base/money.ts';
import {
  findUserTransaction,
  listTransactions,
  listUpdatedTransactions,
  type ShownTransaction,
  type TransactionScope,
} from '../../transactions/read.ts';
import { decodeCursor, pageQuery } from '../edge/cursors.ts';
import { calendarDate, dateTime, pathId, readQuery } from '../edge/requests.ts';
import { json } from '../edge/responses.ts';
import type { Route, UserCall } from './calls.ts';
import { dateCursor, page, updateCursor } from './pages.ts';

const listQuery = z.object({ ...pageQuery, since: calendarDate.optional(), until: calendarDate.optional() });
const updatedQuery = z.object({ ...pageQuery, since: dateTime.optional() });

/** Key order as recorded; dates that the bank did not give are left out, never null. */
function showTransaction(transaction: ShownTransaction): object {
  return {
    id: transaction.id,
    clean_description: transaction.cleanDescription,
    bank_description: transaction.bankDescription,
    amount: toNumber(transaction.amount),
    date: transaction.date,
    ...(transaction.bookingDate === null ? {} : { booking_date: transaction.bookingDate }),
    ...(transaction.transactionDate === null ? {} : { transaction_date: transaction.transactionDate }),
    ...(transaction.valueDate === null ? {} : { value_date: transaction.valueDate }),
    updated_at: isoTimestamp(transaction.updatedAt),
    currency_code: transaction.currency,
    category_id: transaction.categoryId,
    account_id: transaction.accountId,
    show_client_side: transaction.showClientSide,
    is_deleted: transaction.isDeleted,
    is_future: transaction.status === 'scheduled',
  };
}

async function list({ c, services, now }: UserCall, scope: TransactionScope): Promise<Response> {
  const query = readQuery(c, listQuery);
  const rows = await listTransactions(services.storage, scope, {
    since: query.since ?? null,
    until: query.until ?? null,
    after: decodeCursor(dateCursor, query.after),
    limit: query.limit + 1,
  });
  return json(
    page(rows, {
      path: pathOf(scope),
      limit: query.limit,
      form: dateCursor,
      keyOf: ({ date, id }) => ({ date, id }),
      show: showTransaction,
      filters: [
        ['since', query.since],
        ['until', query.until],
      ],
      generatedAt: now,
    }),
  );
}

async function listUpdated({ c, services, now }: UserCall, scope: TransactionScope): Promise<Response> {
  const query = readQuery(c, updatedQuery);
  const rows = await listUpdatedTransactions(services.storage, scope, {
    since: query.since ?? null,
    after: decodeCursor(updateCursor, query.after),
    limit: query.limit + 1,
  });
  return json(
    page(rows, {
      path: `${pathOf(scope)}/updated`,
      limit: query.limit,
      form: updateCursor,
      keyOf: ({ updatedAt, id }) => ({ updatedAt, id }),
      show: showTransaction,
      filters: [['since', query.since === undefined ? undefined : isoTimestamp(query.since)]],
      generatedAt: now,
    }),
  );
}

function pathOf(scope: TransactionScope): string {
  return scope.accountId === null ? '/v2/transactions' : `/v2/accounts/${scope.accountId}/transactions`;
}

function ofUser({ userUuid }: UserCall): TransactionScope {
  return { userUuid, accountId: null };
}

async function ofAccount({ c, services, userUuid }: UserCall): Promise<TransactionScope> {
  const account = await findUserAccount(services.storage, userUuid, pathId(c));
  if (!account) throw new Refusal('not_found');
  return { userUuid, accountId: account.id };
}

async function one({ c, services, userUuid }: UserCall): Promise<Response> {
  const transaction = await findUserTransaction(services.storage, userUuid, pathId(c));
  if (!transaction) throw new Refusal('not_found');
  return json(showTransaction(transaction));
}

export const transactionRoutes: readonly Route[] = [
  { method: 'GET', path: '/v2/transactions', scope: 'user', answer: (call) => list(call, ofUser(call)) },
  { method: 'GET', path: '/v2/transactions/updated', scope: 'user', answer: (call) => listUpdated(call, ofUser(call)) },
  { method: 'GET', path: '/v2/transactions/:id', scope: 'user', answer: one },
  { method: 'GET', path: '/v2/accounts/:id/transactions', scope: 'user', answer: async (call) => list(call, await ofAccount(call)) },
  {
    method: 'GET',
    path: '/v2/accounts/:id/transactions/updated',
    scope: 'user',
    answer: async (call) => listUpdated(call, await ofAccount(call)),
  },
];
