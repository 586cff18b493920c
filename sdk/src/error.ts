/** What kept `verify` from returning an event. Those that start with `body_not_raw`, `option` or `secret` are mistakes in the receiver. */
export type WebhookVerificationCode =
  | 'body_not_raw' // an object, a promise, nothing: not the bytes that arrived
  | 'body_empty'
  | 'body_reserialised' // the JSON arrived signed, but these are not its bytes any more
  | 'body_not_an_event' // signed correctly, yet no event
  | 'headers_unusable' // not the headers of a request
  | 'header_missing'
  | 'header_malformed'
  | 'secret_missing'
  | 'secret_malformed'
  | 'secret_unusable' // only a scheme arrived that this kind of secret cannot check
  | 'signature_mismatch'
  | 'timestamp_too_old'
  | 'timestamp_too_new'
  | 'option_invalid';

/** The request cannot be trusted, or could not be checked. The message says what to do, and never contains a secret or a signature. */
export class WebhookVerificationError extends Error {
  override readonly name = 'WebhookVerificationError';
  readonly code: WebhookVerificationCode;

  constructor(code: WebhookVerificationCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}
