/** Items and their refreshes (contract, section 3.5). */
import { z } from 'zod';
import { isoTimestamp } from '../../base/clock.ts';
import { Refusal } from '../../base/errors.ts';
import { findUserItem, listUserItems, type ShownItem } from '../../items/read.ts';
import { latestRefresh, type Refresh } from '../../items/refreshes.ts';
import { decodeCursor, pageQuery } from '../edge/cursors.ts';
import { pathId, readQuery } from '../edge/requests.ts';
import { erased, json } from '../edge/responses.ts';
import type { Route, UserCall } from './calls.ts';
import { idCursor, page } from './pages.ts';
import type { Language } from './services.ts';
import { showStatus } from './statuses.ts';

function showItem(item: ShownItem, language: Language): object {
  return { id: item.id, ...showStatus(item, language), bank_id: item.bankId };
}

/** `id` is the moment of the refresh in epoch milliseconds, as a string. */
function showRefresh(refresh: Refresh): object {
  const challenge = refresh.state === 'info_required' ? refresh.challenge : null;
  return {
    id: String(refresh.startedAt),
    status: refresh.state,
    refreshed_at: isoTimestamp(refresh.startedAt),
    mfa: challenge && {
      type: challenge.type,
      description: challenge.description,
      label: challenge.label,
      is_numeric: challenge.isNumeric,
    },
    refreshed_accounts_count: refresh.refreshedAccountsCount,
    total_accounts_count: refresh.totalAccountsCount,
  };
}

async function list({ c, services, userUuid, language }: UserCall): Promise<Response> {
  const query = readQuery(c, z.object(pageQuery));
  const after = decodeCursor(idCursor, query.after);
  const rows = await listUserItems(services.storage, { userUuid, after, limit: query.limit + 1 });
  return json(
    page(rows, {
      path: '/v2/items',
      limit: query.limit,
      form: idCursor,
      keyOf: (item) => item.id,
      show: (item) => showItem(item, language),
    }),
  );
}

async function existing({ c, services, userUuid }: UserCall): Promise<ShownItem> {
  const item = await findUserItem(services.storage, userUuid, pathId(c));
  if (!item) throw new Refusal('not_found');
  return item;
}

async function remove(call: UserCall): Promise<Response> {
  const item = await existing(call);
  return erased(await call.services.deleteItem(item.id));
}

async function refresh(call: UserCall): Promise<Response> {
  const item = await existing(call);
  if (!(await call.services.requestRefresh(item.id, 'api'))) throw new Refusal('not_found');
  return new Response(null, { status: 202, headers: { Location: `/v2/items/${item.id}/refresh/status`, 'Content-Length': '0' } });
}

async function refreshStatus(call: UserCall): Promise<Response> {
  const item = await existing(call);
  const latest = await latestRefresh(call.services.storage, item.id);
  if (!latest) throw new Refusal('not_found');
  return json(showRefresh(latest));
}

export const itemRoutes: readonly Route[] = [
  { method: 'GET', path: '/v2/items', scope: 'user', answer: list },
  { method: 'GET', path: '/v2/items/:id', scope: 'user', answer: async (call) => json(showItem(await existing(call), call.language)) },
  { method: 'DELETE', path: '/v2/items/:id', scope: 'user', answer: remove },
  { method: 'POST', path: '/v2/items/:id/refresh', scope: 'user', answer: refresh },
  { method: 'GET', path: '/v2/items/:id/refresh/status', scope: 'user', answer: refreshStatus },
];
