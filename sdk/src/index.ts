export { type WebhookVerificationCode, WebhookVerificationError } from './error.ts';
export {
  EVENT_TYPES,
  EventFormatError,
  type EventOf,
  type EventType,
  type ItemAccountCreated,
  type ItemAccountDeleted,
  type ItemAccountUpdated,
  type ItemCreated,
  type ItemRefreshed,
  isKnownEvent,
  type KnownEvent,
  parseEvent,
  type TestEvent,
  type UnknownEvent,
  type WebhookEvent,
} from './event.ts';
export { exampleEvent, type SignedRequest, type SignedRequestOptions, signedRequest } from './example.ts';
export type { HeadersLike, WebhookHeaders } from './header.ts';
export { type SignOptions, sign } from './signature.ts';
export { type VerifyOptions, verify, verifySignature } from './verify.ts';
