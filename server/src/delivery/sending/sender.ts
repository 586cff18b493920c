/** One attempt: one POST, one deadline from DNS to the last byte, and what came of it. */
import { type Dispatcher, Pool } from 'undici';
import type { Clock } from '../../base/clock.ts';
import type { AddressPolicy } from '../../endpoints/addresses.ts';
import type { DeliverableEndpoint } from '../../endpoints/endpoints.ts';
import { renderBody } from '../../events/catalogue.ts';
import type { LoggedEvent } from '../../events/log.ts';
import type { Outcome } from '../lanes/lane.ts';
import { guardedConnector } from './connection.ts';
import { errorFailure, type Failure, NO_SECRET, statusFailure, timeoutFailure } from './failure.ts';
import { createSigner } from './signing.ts';

export const DEADLINE_MS = 10_000;
/** No receiver has more to say; what comes after is not read. */
export const ANSWER_BYTES_MAX = 64 * 1024;
/** Kept of a failing answer: enough for an error page's first lines. */
export const SNIPPET_BYTES_MAX = 4 * 1024;
/** Requests under way per endpoint: with a receiver that takes 50 ms, 320 a second. */
export const CONCURRENCY = 16;

export type Sender = {
  /** Answers by `done`, once, never at once. */
  send(event: LoggedEvent, done: (outcome: Outcome) => void): void;
  /** Lets what is under way end. */
  close(): Promise<void>;
  /** Breaks off what is under way. */
  destroy(): Promise<void>;
};

export function createSender(
  endpoint: DeliverableEndpoint,
  options: { clock: Clock; policy: AddressPolicy; version: string; deadlineMs?: number },
): Sender {
  const { clock } = options;
  const deadlineMs = options.deadlineMs ?? DEADLINE_MS;
  const url = new URL(endpoint.url);
  const path = url.pathname + url.search;
  const sign = createSigner(endpoint.secrets);
  const userAgent = `Pontage/${options.version}`;
  // The deadline of the attempt replaces the client's own: 0 turns those off.
  const pool = new Pool(url.origin, {
    connections: CONCURRENCY,
    pipelining: 1,
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: guardedConnector(options.policy, deadlineMs),
  });

  return {
    send(event, done) {
      const now = clock.now();
      const body = Buffer.from(renderBody(event));
      const timestamp = String(Math.floor(now / 1_000));
      const signatures = sign(event.id, timestamp, body, now);
      if (!signatures) {
        setImmediate(done, { at: now, status: null, durationMs: 0, failure: NO_SECRET, snippet: null });
        return;
      }
      const headers = ['content-type', 'application/json', 'user-agent', userAgent, 'BridgeApi-Signature', signatures.bridge];
      if (signatures.standard !== null) {
        headers.push('webhook-id', event.id, 'webhook-timestamp', timestamp, 'webhook-signature', signatures.standard);
      }
      pool.dispatch({ path, method: 'POST', headers, body }, new Attempt(now, deadlineMs, done));
    },
    close: () => pool.close(),
    destroy: () => pool.destroy(),
  };
}

/** Follows one request. A class, so that thousands a second share one shape. */
class Attempt implements Dispatcher.DispatchHandler {
  private readonly at: number;
  private readonly startedAt = performance.now();
  private readonly deadlineMs: number;
  private readonly timer: NodeJS.Timeout;
  private done: ((outcome: Outcome) => void) | null;
  private controller: Dispatcher.DispatchController | null = null;
  private status: number | null = null;
  private failure: Failure | null = null;
  private received = 0;
  private kept: Buffer[] = [];

  constructor(at: number, deadlineMs: number, done: (outcome: Outcome) => void) {
    this.at = at;
    this.deadlineMs = deadlineMs;
    this.done = done;
    this.timer = setTimeout(() => this.expire(), deadlineMs);
  }

  onRequestStart(controller: Dispatcher.DispatchController) {
    this.controller = controller;
    // It waited for a connection beyond its deadline: it must not be sent after it was counted as failed.
    if (this.done === null) controller.abort(new Error('expired'));
  }

  onResponseStart(_: Dispatcher.DispatchController, status: number, headers: Record<string, string | string[] | undefined>) {
    if (status < 200) return;
    this.status = status;
    const location = headers.location;
    this.failure = statusFailure(status, typeof location === 'string' ? location : null);
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer) {
    if (this.failure !== null && this.received < SNIPPET_BYTES_MAX) {
      this.kept.push(Buffer.from(chunk.subarray(0, SNIPPET_BYTES_MAX - this.received)));
    }
    this.received += chunk.length;
    if (this.received <= ANSWER_BYTES_MAX) return;
    this.finish(this.failure);
    controller.abort(new Error('answer too long'));
  }

  onResponseEnd() {
    this.finish(this.failure);
  }

  onResponseError(_: Dispatcher.DispatchController | null, error: Error) {
    // The client may report a failure within the call that asked for it.
    if (this.done !== null) setImmediate(() => this.finish(errorFailure(error)));
  }

  private expire() {
    this.finish(timeoutFailure(this.deadlineMs));
    this.controller?.abort(new Error('expired'));
  }

  private finish(failure: Failure | null) {
    const { done } = this;
    if (done === null) return;
    this.done = null;
    clearTimeout(this.timer);
    const durationMs = performance.now() - this.startedAt;
    const snippet = this.kept.length > 0 ? Buffer.concat(this.kept).toString().replaceAll('\0', '') : null;
    done({ at: this.at, status: this.status, durationMs, failure, snippet });
  }
}
