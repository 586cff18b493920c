/** Follows one request: one deadline from DNS to the last byte, and what came of it. */
import type { Dispatcher } from 'undici';
import type { Outcome } from '../job.ts';
import type { Connection } from './connection.ts';
import {
  type AttemptPhase,
  BROKEN_OFF,
  codeOf,
  errorFailure,
  type Failure,
  statusFailure,
  TOO_MANY_INTERIM_ANSWERS,
  timeoutFailure,
} from './failure.ts';
import { retryAfterMs } from './retry-after.ts';
import { type Redactor, SNIPPET_READ_BYTES_MAX } from './snippet.ts';

/** No receiver has more to say; what comes after is not read. */
export const ANSWER_BYTES_MAX = 64 * 1024;
/** 100 Continue, 103 Early Hints: one or two are usual. */
const INTERIM_ANSWERS_MAX = 20;
/** How an idle connection looks that the receiver closed while our request was on its way. */
const CLOSED_CODES = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE']);

export type AttemptRequest = {
  path: string;
  headers: string[];
  body: Buffer;
  signatures: readonly string[];
  traceparent: string | null;
};
export type AttemptEnd = (connection: Connection | null, outcome: Outcome) => void;

/** A class, so that thousands a second share one shape. */
export class Attempt implements Dispatcher.DispatchHandler {
  private readonly at: number;
  private readonly startedAt: number;
  private readonly deadlineMs: number;
  private readonly redactor: Redactor;
  private readonly mayWrite: () => boolean;
  private readonly timer: NodeJS.Timeout;
  private end: AttemptEnd | null;
  private connection: Connection | null = null;
  private request: AttemptRequest | null = null;
  private controller: Dispatcher.DispatchController | null = null;
  private sentAt = 0;
  private firstByteMs: number | null = null;
  private status: number | null = null;
  private failure: Failure | null = null;
  private retryAfterMs: number | null = null;
  private unreadable: string | null = null;
  private interim = 0;
  private received = 0;
  private kept: Buffer[] | null = null;
  private repeated = false;
  private withheld = false;

  /**
   * `at` is epoch milliseconds; `end` is called once, never at once, with the connection unless it is of no more use. While
   * `mayWrite` says no, nothing is written, and what ends without an answer is broken off and not the receiver's failure.
   */
  constructor(at: number, deadlineMs: number, redactor: Redactor, mayWrite: () => boolean, end: AttemptEnd) {
    this.at = at;
    this.startedAt = performance.now();
    this.deadlineMs = deadlineMs;
    this.redactor = redactor;
    this.mayWrite = mayWrite;
    this.end = end;
    this.timer = setTimeout(expire, deadlineMs, this);
  }

  get ended(): boolean {
    return this.end === null;
  }

  dispatch(connection: Connection, request: AttemptRequest) {
    this.connection = connection;
    this.request = request;
    connection.opening = null;
    this.sentAt = 0;
    connection.client.dispatch({ path: request.path, method: 'POST', headers: request.headers, body: request.body }, this);
  }

  /** It could not be sent at all. */
  fail(failure: Failure) {
    this.finish(failure);
  }

  /** Breaks it off: the receiver may have had it or not. */
  abort() {
    this.finish(BROKEN_OFF);
  }

  withhold() {
    if (this.sentAt === 0 && !this.repeated) this.finish(BROKEN_OFF);
  }

  onRequestStart(controller: Dispatcher.DispatchController) {
    this.controller = controller;
    this.sentAt = performance.now();
    // The last moment before it is written. It waited for its connection beyond its deadline, and must not be sent after it
    // was counted as failed; or the process stood still meanwhile, and another node may have sent it.
    this.withheld = !this.mayWrite();
    if (this.end === null || this.withheld) controller.abort(new Error('expired'));
  }

  onResponseStarted() {
    this.firstByteMs ??= performance.now() - this.sentAt;
  }

  onResponseStart(_: Dispatcher.DispatchController, status: number, headers: Record<string, string | string[] | undefined>) {
    if (status < 200) {
      this.interim += 1;
      if (this.interim > INTERIM_ANSWERS_MAX) this.finish(TOO_MANY_INTERIM_ANSWERS);
      return;
    }
    this.status = status;
    const location = headers.location;
    this.failure = statusFailure(status, typeof location === 'string' ? location : null);
    if (this.failure === null) return;
    this.kept = [];
    this.retryAfterMs = retryAfterMs(status, headers['retry-after'], this.at + performance.now() - this.startedAt);
    const encoding = headers['content-encoding'];
    // What was not asked for is not unpacked: some kilobytes can become gigabytes.
    if (typeof encoding === 'string' && encoding !== 'identity') this.unreadable = `(not unpacked: ${encoding.slice(0, 20)})`;
  }

  onResponseData(_: Dispatcher.DispatchController, chunk: Buffer) {
    if (this.kept !== null && this.received < SNIPPET_READ_BYTES_MAX) {
      this.kept.push(Buffer.from(chunk.subarray(0, SNIPPET_READ_BYTES_MAX - this.received)));
    }
    this.received += chunk.length;
    if (this.received > ANSWER_BYTES_MAX) this.finish(this.failure);
  }

  onResponseEnd() {
    this.controller = null;
    this.finish(this.failure);
  }

  onResponseError(_: Dispatcher.DispatchController | null, error: Error) {
    this.controller = null;
    // The client may report a failure within the call that asked for it.
    if (this.end !== null) setImmediate(broken, this, error);
  }

  /** Called by {@link broken}. */
  interrupt(error: Error) {
    const { connection, request } = this;
    if (this.end === null || connection === null || request === null) return;
    // The receiver closed an idle connection while the request was on its way: no fault of either. Its id lets a receiver
    // that had read it tell the second one.
    const stale = connection.opening === null && this.firstByteMs === null && CLOSED_CODES.has(codeOf(error));
    if (stale && !this.repeated && connection.usable) {
      this.repeated = true;
      this.dispatch(connection, request);
      return;
    }
    this.finish(errorFailure(error, { phase: this.phase, certificate: connection.opening?.certificate ?? null }));
  }

  /** Called by {@link expire}. */
  timeOut() {
    this.finish(timeoutFailure(this.deadlineMs, this.phase, this.status));
  }

  private get phase(): AttemptPhase {
    if (this.status !== null) return 'body';
    if (this.sentAt > 0) return 'answer';
    return this.connection?.opening?.phase ?? 'answer';
  }

  private finish(failure: Failure | null) {
    const { end, connection, controller } = this;
    if (end === null) return;
    this.end = null;
    clearTimeout(this.timer);
    // What a process that stood still finds (its own deadline, a connection that was given up) is no fault of the receiver.
    const unheard = failure !== null && this.status === null && (this.withheld || !this.mayWrite());
    const outcome = this.outcome(unheard ? BROKEN_OFF : failure);
    controller?.abort(new Error('ended'));
    // Still opening, or opened too late: undici would send the request on it.
    const reusable = connection !== null && (controller !== null || this.sentAt > 0 || !connection.busy);
    if (connection !== null && !reusable) connection.discard();
    end(reusable ? connection : null, outcome);
  }

  private outcome(failure: Failure | null): Outcome {
    const opening = this.connection?.opening ?? null;
    const signatures = this.request?.signatures ?? [];
    return {
      at: this.at,
      status: this.status,
      durationMs: performance.now() - this.startedAt,
      timings: {
        dnsMs: opening?.dnsMs ?? null,
        connectMs: opening?.connectMs ?? null,
        tlsMs: opening?.tlsMs ?? null,
        firstByteMs: this.firstByteMs,
      },
      retryAfterMs: this.retryAfterMs,
      failure: failure && { class: failure.class, message: this.redactor.text(failure.message, signatures) },
      snippet: this.snippet(signatures),
      traceparent: this.request?.traceparent ?? null,
    };
  }

  private snippet(signatures: readonly string[]): string | null {
    if (this.kept === null || this.kept.length === 0) return null;
    return this.unreadable ?? this.redactor.snippet(Buffer.concat(this.kept), signatures);
  }
}

/** Functions of the module: a closure for each timer would be one more object for each delivery. */
function expire(attempt: Attempt) {
  attempt.timeOut();
}

function broken(attempt: Attempt, error: Error) {
  attempt.interrupt(error);
}
