/** Accounts (contract, sections 3.6 and 6). */
import { z } from 'zod';
import { findUserAccount, listUserAccounts, type ShownAccount } from '../../accounts/read.ts';
import { isoTimestamp } from '../../base/clock.ts';
import { Refusal } from '../../base/errors.ts';
import { toNumber } from '../../base/money.ts';
import type { LoanDetails, SavingsDetails } from '../../connectors/connector.ts';
import { findUserItem } from '../../items/read.ts';
import { decodeCursor, pageQuery } from '../edge/cursors.ts';
import { idText, pathId, readQuery } from '../edge/requests.ts';
import { json } from '../edge/responses.ts';
import type { Route, UserCall } from './calls.ts';
import { idCursor, page } from './pages.ts';
import type { Language } from './services.ts';
import { showStatus } from './statuses.ts';

function showAccount(account: ShownAccount, language: Language): object {
  return {
    id: account.id,
    name: account.name,
    // The wire has no word for an unknown balance.
    balance: account.balance ? toNumber(account.balance) : 0,
    ...showStatus(account, language),
    updated_at: isoTimestamp(account.updatedAt),
    type: account.type,
    is_paused: false,
    currency_code: account.currency,
    item_id: account.itemId,
    bank_id: account.bankId,
    loan_details: account.loanDetails === null ? null : showLoan(JSON.parse(account.loanDetails) as LoanDetails),
    savings_details: account.savingsDetails === null ? null : showSavings(JSON.parse(account.savingsDetails) as SavingsDetails),
    is_pro: account.isPro,
    iban: account.iban,
  };
}

function showLoan(loan: LoanDetails): LoanDetails {
  return {
    next_payment_date: loan.next_payment_date,
    next_payment_amount: loan.next_payment_amount,
    maturity_date: loan.maturity_date,
    opening_date: loan.opening_date,
    interest_rate: loan.interest_rate,
    type: loan.type,
    borrowed_capital: loan.borrowed_capital,
    repaid_capital: loan.repaid_capital,
    remaining_capital: loan.remaining_capital,
  };
}

function showSavings(savings: SavingsDetails): SavingsDetails {
  return { opening_date: savings.opening_date, interest_rate: savings.interest_rate, ceiling: savings.ceiling };
}

async function list({ c, services, userUuid, language }: UserCall): Promise<Response> {
  const query = readQuery(c, z.object({ ...pageQuery, item_id: idText.optional() }));
  const after = decodeCursor(idCursor, query.after);
  const itemId = query.item_id ?? null;
  if (itemId !== null && !(await findUserItem(services.storage, userUuid, itemId))) throw new Refusal('not_found');
  const rows = await listUserAccounts(services.storage, { userUuid, itemId, after, limit: query.limit + 1 });
  return json(
    page(rows, {
      path: '/v2/accounts',
      limit: query.limit,
      form: idCursor,
      keyOf: (account) => account.id,
      show: (account) => showAccount(account, language),
      filters: [['item_id', itemId === null ? undefined : String(itemId)]],
    }),
  );
}

async function one({ c, services, userUuid, language }: UserCall): Promise<Response> {
  const account = await findUserAccount(services.storage, userUuid, pathId(c));
  if (!account) throw new Refusal('not_found');
  return json(showAccount(account, language));
}

export const accountRoutes: readonly Route[] = [
  { method: 'GET', path: '/v2/accounts', scope: 'user', answer: list },
  { method: 'GET', path: '/v2/accounts/:id', scope: 'user', answer: one },
];
