/**
 * Every failure a caller can act on, in one table: the machine's `type`, the HTTP status, and the sentence.
 * `docs/errors.md` is tested against it. Types and messages follow the contract, section 2.4, where it has them.
 */
export const ERRORS = {
  invalid_version_header: { status: 400, message: 'API version Bridge-Version is invalid' },
  bad_request: { status: 400, message: 'The request is invalid' },
  invalid_cursor: { status: 400, message: 'The cursor in `after` is invalid: follow `next_uri` as it was given' },
  invalid_client_credentials: { status: 401, message: 'client_id and client_secret are invalid' },
  invalid_user_credentials: { status: 401, message: 'The user is unknown or the password is wrong' },
  invalid_access_token: { status: 401, message: 'The access token is missing, invalid or expired: authenticate the user again' },
  forbidden: { status: 403, message: 'This application may not do that' },
  not_found: { status: 404, message: "The requested resource doesn't exist" },
  method_not_allowed: { status: 405, message: 'This method is not allowed here' },
  conflict: { status: 409, message: 'The resource already exists' },
  events_expired: {
    status: 410,
    message: 'Events after this position are kept no longer: start again without `after`, and read what you missed from /v2',
  },
  payload_too_large: { status: 413, message: 'The request body is too large' },
  unsupported_media_type: { status: 415, message: 'The Content-Type must be application/json' },
  invalid_json: { status: 422, message: 'The request body is not valid JSON' },
  unprocessable: { status: 422, message: 'The request cannot be processed' },
  too_many_requests: { status: 429, message: 'Too many requests: wait and try again' },
  internal_error: { status: 500, message: 'Something went wrong on our side' },
  unavailable: { status: 503, message: 'The service is not ready: try again shortly' },
} as const satisfies Record<string, { status: number; message: string }>;

export type ErrorType = keyof typeof ERRORS;

/** A failure of the table, on its way to the edge that knows how to show it. */
export class Refusal extends Error {
  readonly type: ErrorType;
  readonly headers: Readonly<Record<string, string>>;

  constructor(type: ErrorType, message: string = ERRORS[type].message, headers: Record<string, string> = {}) {
    super(message);
    this.name = 'Refusal';
    this.type = type;
    this.headers = headers;
  }
}
