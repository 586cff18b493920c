import { createHash } from 'node:crypto';
import type { EventOf, EventType, WebhookEvent } from './event.ts';
import { sign } from './signature.ts';

const USER_UUID = '766b2f5d-a942-492c-9ea7-2e5aa88cb672';

/** The sample values of the API's documentation, keys in the order of the wire. */
const EXAMPLES: { readonly [Type in EventType]: EventOf<Type> } = {
  'item.created': { content: { item_id: 4568477, user_uuid: USER_UUID }, timestamp: 1612782588323, type: 'item.created' },
  'item.account.created': {
    content: { account_id: 22908770, balance: 1678.12, item_id: 4568477, user_uuid: USER_UUID },
    timestamp: 1612782588323,
    type: 'item.account.created',
  },
  'item.account.updated': {
    content: {
      account_id: 22908770,
      balance: 1678.12,
      item_id: 4568477,
      nb_deleted_transactions: 0,
      nb_new_transactions: 15,
      nb_updated_transactions: 0,
      user_uuid: USER_UUID,
    },
    timestamp: 1612782588323,
    type: 'item.account.updated',
  },
  'item.account.deleted': {
    content: { user_uuid: '4568f180-03ea-4915-af47-f266f06b6949', item_id: 8390176, account_id: 38439071 },
    timestamp: 1694506737325,
    type: 'item.account.deleted',
  },
  'item.refreshed': {
    content: { full_refresh: false, item_id: 4568565, status_code: 0, status_code_info: 'OK', user_uuid: USER_UUID },
    timestamp: 1612783550980,
    type: 'item.refreshed',
  },
  TEST_EVENT: {
    content: { item_id: 1234567890, status: 0, user_uuid: '9a95b38f-f98b-417a-988b-9d0d584893e7' },
    timestamp: 1611681789,
    type: 'TEST_EVENT',
  },
};

/** A new event of the type, with sample values; `content` replaces some of them. For a receiver's own tests. */
export function exampleEvent<Type extends EventType>(type: Type, content: Partial<EventOf<Type>['content']> = {}): EventOf<Type> {
  const example: EventOf<Type> = EXAMPLES[type];
  return { ...example, content: { ...example.content, ...content } };
}

export type SignedRequestOptions = {
  event: WebhookEvent;
  /** The secret, or several with the newest first, as during a rotation. */
  secret: string | readonly string[];
  url?: string | undefined;
  /** Epoch milliseconds at which the request is signed; the clock of the machine by default. */
  now?: number | undefined;
};

/** What `fetch(url, request)` takes, and the `inject` of most frameworks with `url`. */
export type SignedRequest = { method: 'POST'; url?: string; headers: Record<string, string>; body: string };

/** The request that Pontage would send for the event. Equal events get equal ids, as repeated attempts do. For a receiver's own tests. */
export function signedRequest(options: SignedRequestOptions): SignedRequest {
  const { content, timestamp, type } = options.event;
  const body = JSON.stringify({ content, timestamp, type });
  const id = `evt_${createHash('sha256').update(body).digest('hex').slice(0, 24)}`;
  const signatures = sign(body, options.secret, { id, timestamp: Math.floor((options.now ?? Date.now()) / 1000) });
  const request: SignedRequest = { method: 'POST', headers: { 'content-type': 'application/json', ...signatures }, body };
  return options.url === undefined ? request : { ...request, url: options.url };
}
