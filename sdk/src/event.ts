/**
 * The events of API version 2021-06-01, as they are on the wire: compact JSON with the keys `content`, `timestamp`, `type`.
 * `timestamp` is epoch milliseconds, except in TEST_EVENT, which carries epoch seconds.
 */

/** A user typed credentials in Connect and pressed the button; nothing was fetched from the bank yet. */
export type ItemCreated = Event<'item.created', { item_id: number; user_uuid: string }>;

/** A new account was detected on an item, together with the item or later. */
export type ItemAccountCreated = Event<'item.account.created', { account_id: number; balance: number; item_id: number; user_uuid: string }>;

/** Transactions of an account were added, changed or deleted, or its balance moved (then all three counts are 0). */
export type ItemAccountUpdated = Event<
  'item.account.updated',
  {
    account_id: number;
    balance: number;
    item_id: number;
    nb_deleted_transactions: number;
    nb_new_transactions: number;
    nb_updated_transactions: number;
    user_uuid: string;
  }
>;

/** The bank no longer returns the account. If it ever comes back, `item.account.updated` follows, not a second `created`. */
export type ItemAccountDeleted = Event<'item.account.deleted', { user_uuid: string; item_id: number; account_id: number }>;

/** A refresh of an item ended, well or not: see `status_code`. `status_code_info` is null for statuses that have none, such as 1007. */
export type ItemRefreshed = Event<
  'item.refreshed',
  { full_refresh: boolean; item_id: number; status_code: number; status_code_info: string | null; user_uuid: string }
>;

/** Sent by hand to try an endpoint; always the same body. Its status field is `status`, not `status_code`. */
export type TestEvent = Event<'TEST_EVENT', { item_id: number; status: number; user_uuid: string }>;

export type KnownEvent = ItemCreated | ItemAccountCreated | ItemAccountUpdated | ItemAccountDeleted | ItemRefreshed | TestEvent;

export type EventType = KnownEvent['type'];

/** The event of one type, e.g. `EventOf<'item.created'>`. */
export type EventOf<Type extends EventType> = Extract<KnownEvent, { type: Type }>;

/** An event whose type this version of the SDK does not know. Answer 2xx and ignore it. */
export type UnknownEvent = Event<string, Record<string, unknown>>;

/** What arrives. Ask `isKnownEvent` first: `type` narrows the known events only, as any string may be an unknown type. */
export type WebhookEvent = KnownEvent | UnknownEvent;

type Event<Type extends string, Content> = { content: Content; timestamp: number; type: Type };

type FieldKind = 'integer' | 'number' | 'string' | 'string or null' | 'boolean';

type Shapes = { [Type in EventType]: { [Field in keyof EventOf<Type>['content']]: FieldKind } };

const SHAPES: Shapes = {
  'item.created': { item_id: 'integer', user_uuid: 'string' },
  'item.account.created': { account_id: 'integer', balance: 'number', item_id: 'integer', user_uuid: 'string' },
  'item.account.updated': {
    account_id: 'integer',
    balance: 'number',
    item_id: 'integer',
    nb_deleted_transactions: 'integer',
    nb_new_transactions: 'integer',
    nb_updated_transactions: 'integer',
    user_uuid: 'string',
  },
  'item.account.deleted': { user_uuid: 'string', item_id: 'integer', account_id: 'integer' },
  'item.refreshed': {
    full_refresh: 'boolean',
    item_id: 'integer',
    status_code: 'integer',
    status_code_info: 'string or null',
    user_uuid: 'string',
  },
  TEST_EVENT: { item_id: 'integer', status: 'integer', user_uuid: 'string' },
};

/** Every type that this version of the SDK knows, TEST_EVENT included. */
export const EVENT_TYPES: readonly EventType[] = Object.freeze(Object.keys(SHAPES) as EventType[]);

/** True when the event is of a type in `EVENT_TYPES`; narrows to the union of those. */
export function isKnownEvent(event: WebhookEvent): event is KnownEvent {
  return isKnownType(event.type);
}

/** The text is no event, or an event of a known type lacks a field or has one of the wrong kind. */
export class EventFormatError extends Error {
  override readonly name = 'EventFormatError';
}

/**
 * Reads an event from JSON text without checking any signature. Fields that this version does not know are kept.
 * An unknown type is returned as `UnknownEvent`, so that a new type does not break a receiver.
 * Throws `EventFormatError`.
 */
export function parseEvent(json: string): WebhookEvent {
  const event = parseJson(json);
  if (!isRecord(event)) throw new EventFormatError(`An event is a JSON object; this is ${kindOf(event)}.`);
  const { content, timestamp, type } = event;
  if (typeof type !== 'string') throw new EventFormatError(`The event's \`type\` must be a string; it is ${kindOf(type)}.`);
  if (typeof timestamp !== 'number')
    throw new EventFormatError(`The ${type} event's \`timestamp\` must be a number; it is ${kindOf(timestamp)}.`);
  if (!isRecord(content)) throw new EventFormatError(`The ${type} event's \`content\` must be an object; it is ${kindOf(content)}.`);
  if (isKnownType(type)) checkContent(type, content);
  return event as WebhookEvent;
}

function parseJson(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch (cause) {
    throw new EventFormatError(`The body is not JSON: ${cause instanceof Error ? cause.message : String(cause)}.`, { cause });
  }
}

function checkContent(type: EventType, content: Record<string, unknown>): void {
  for (const [field, kind] of Object.entries(SHAPES[type]) as [string, FieldKind][]) {
    const value = content[field];
    if (isOfKind(value, kind)) continue;
    throw new EventFormatError(`The ${type} event's \`content.${field}\` must be ${article(kind)}; it is ${kindOf(value)}.`);
  }
}

function isOfKind(value: unknown, kind: FieldKind): boolean {
  if (kind === 'integer') return Number.isSafeInteger(value);
  return kind === 'string or null' ? value === null || typeof value === 'string' : typeof value === kind;
}

function isKnownType(type: string): type is EventType {
  return Object.hasOwn(SHAPES, type);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function kindOf(value: unknown): string {
  if (value === undefined) return 'missing';
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  return article(typeof value);
}

function article(kind: string): string {
  return `${/^[aeiou]/.test(kind) ? 'an' : 'a'} ${kind}`;
}
