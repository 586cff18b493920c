/** The kinds of events, and the bodies they become on the wire of 2021-06-01 (contract, section 1.6). Pure. */
import { type Money, toNumber } from '../base/money.ts';

export const EVENT_TYPES = [
  'item.created',
  'item.refreshed',
  'item.account.created',
  'item.account.updated',
  'item.account.deleted',
] as const;
export type EventType = (typeof EVENT_TYPES)[number];
export const TEST_EVENT = 'TEST_EVENT';

/** What an operator should know of deliveries: made by delivery itself, for endpoints other than the one they tell of. */
export const OPERATIONAL_TYPES = [
  'pontage.endpoint.failing',
  'pontage.endpoint.disabled',
  'pontage.endpoint.recovered',
  'pontage.endpoint.silent',
  'pontage.delivery.dead',
] as const;
export type OperationalType = (typeof OPERATIONAL_TYPES)[number];
/** What an endpoint may ask for, in the order in which filters are written. */
export const SUBSCRIBABLE_TYPES = [...EVENT_TYPES, ...OPERATIONAL_TYPES] as const;

/** Deliveries of these raise no operational events of their own. */
export function isOperational(type: string): boolean {
  return type.startsWith('pontage.');
}

type OfItem = { itemId: number; userUuid: string };
type OfAccount = OfItem & { accountId: number };

/** An event as the fact that it reports; its timestamp is given when it is committed. */
export type EventDraft =
  | ({ type: 'item.created' } & OfItem)
  | ({ type: 'item.refreshed'; fullRefresh: boolean; statusCode: number; statusCodeInfo: string | null } & OfItem)
  | ({ type: 'item.account.created'; balance: Money | null } & OfAccount)
  | ({ type: 'item.account.updated'; balance: Money | null; created: number; updated: number; deleted: number } & OfAccount)
  | ({ type: 'item.account.deleted' } & OfAccount);

/** The `content` of an event: compact JSON with its keys in the order of the contract. */
export function contentOf(draft: EventDraft): string {
  return JSON.stringify(content(draft));
}

function content(draft: EventDraft): Record<string, unknown> {
  switch (draft.type) {
    case 'item.created':
      return { item_id: draft.itemId, user_uuid: draft.userUuid };
    case 'item.refreshed':
      return {
        full_refresh: draft.fullRefresh,
        item_id: draft.itemId,
        status_code: draft.statusCode,
        status_code_info: draft.statusCodeInfo,
        user_uuid: draft.userUuid,
      };
    case 'item.account.created':
      return { account_id: draft.accountId, balance: balance(draft), item_id: draft.itemId, user_uuid: draft.userUuid };
    case 'item.account.updated':
      return {
        account_id: draft.accountId,
        balance: balance(draft),
        item_id: draft.itemId,
        nb_deleted_transactions: draft.deleted,
        nb_new_transactions: draft.created,
        nb_updated_transactions: draft.updated,
        user_uuid: draft.userUuid,
      };
    case 'item.account.deleted':
      return { user_uuid: draft.userUuid, item_id: draft.itemId, account_id: draft.accountId };
    default:
      return draft satisfies never;
  }
}

type OfEndpoint = {
  endpointId: string;
  name: string;
  url: string;
  /** A sentence for people: what happened, and what to do. */
  reason: string;
};

/** Times are epoch milliseconds of the real clock. */
export type OperationalDraft = OfEndpoint &
  (
    | { type: 'pontage.endpoint.failing'; failures: number; failingSince: number }
    | { type: 'pontage.endpoint.disabled'; cause: 'owner' | 'gone' | 'failing'; disabledAt: number }
    | { type: 'pontage.endpoint.recovered'; failingSince: number; recoveredAt: number }
    | { type: 'pontage.endpoint.silent'; lastDeliveredAt: number | null; silentAfterMs: number }
    /** All deliveries that were given up between the two times: after their last attempt, or because of their age. */
    | { type: 'pontage.delivery.dead'; cause: 'attempts' | 'expired'; count: number; from: number; until: number }
  );

/** The `content` of an operational event: keys in alphabetical order, no secrets, the address without what may hold one. */
export function operationalContentOf(draft: OperationalDraft): string {
  const about = { endpoint_id: draft.endpointId, name: draft.name, reason: draft.reason, url: plainUrl(draft.url) };
  const content: Record<string, unknown> = { ...about, ...operationalFacts(draft) };
  return JSON.stringify(Object.fromEntries(Object.entries(content).sort(([a], [b]) => (a < b ? -1 : 1))));
}

function operationalFacts(draft: OperationalDraft): Record<string, unknown> {
  switch (draft.type) {
    case 'pontage.endpoint.failing':
      return { failing_since: draft.failingSince, failures: draft.failures };
    case 'pontage.endpoint.disabled':
      return { cause: draft.cause, disabled_at: draft.disabledAt };
    case 'pontage.endpoint.recovered':
      return { failing_since: draft.failingSince, recovered_at: draft.recoveredAt };
    case 'pontage.endpoint.silent':
      return { last_delivered_at: draft.lastDeliveredAt, silent_after_ms: draft.silentAfterMs };
    case 'pontage.delivery.dead':
      return { cause: draft.cause, count: draft.count, from: draft.from, until: draft.until };
    default:
      return draft satisfies never;
  }
}

/** Queries, user names and fragments may hold secrets. */
function plainUrl(text: string): string {
  const url = URL.parse(text);
  return url ? `${url.origin}${url.pathname}` : '';
}

/** The wire has no word for an unknown balance, and shows 0 (design of statements). */
function balance(draft: { balance: Money | null }): number {
  return draft.balance ? toNumber(draft.balance) : 0;
}

/** The body that is signed and sent: the same bytes on every attempt. */
export function renderBody(event: { type: string; content: string; timestamp: number }): string {
  return `{"content":${event.content},"timestamp":${event.timestamp},"type":"${event.type}"}`;
}

/** The one body of the contract's section 1.2, with its timestamp in seconds. */
export const TEST_EVENT_CONTENT = '{"item_id":1234567890,"status":0,"user_uuid":"9a95b38f-f98b-417a-988b-9d0d584893e7"}';
export const TEST_EVENT_TIMESTAMP = 1611681789;
