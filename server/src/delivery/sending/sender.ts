/** Requests to one endpoint: what they carry, and the connections that they share with no other endpoint. */
import type { Clock } from '../../base/clock.ts';
import type { AddressPolicy } from '../../endpoints/addresses.ts';
import type { DeliverableEndpoint } from '../../endpoints/endpoints.ts';
import { DEADLINE_DEFAULT_MS } from '../../endpoints/limits.ts';
import type { Resolve } from '../../endpoints/lookups.ts';
import { renderBody } from '../../events/catalogue.ts';
import type { LoggedEvent } from '../../events/log.ts';
import type { Outcome } from '../job.ts';
import { Attempt, type AttemptEnd } from './attempt.ts';
import { Connection } from './connection.ts';
import { createEncrypter, ENCRYPTED_TYPE } from './encrypting.ts';
import { NO_SECRET, NOT_ENCRYPTED } from './failure.ts';
import { createOpener } from './opening.ts';
import { readProxy } from './proxy.ts';
import { createSequencer } from './sequence.ts';
import { createSigner } from './signing.ts';
import { createRedactor } from './snippet.ts';
import { childTraceparent } from './tracing.ts';

export type Sending = {
  /** Breaks it off. `done` follows at once. */
  abort(): void;
  /** The same, unless it may have been written. */
  withhold(): void;
};

export type Sender = {
  /** Answers by `done`, once, never at once. How many are under way at once is the caller's to say. */
  send(event: LoggedEvent, done: (outcome: Outcome) => void): Sending;
  /** Takes over a changed endpoint; false where that needs another sender. */
  follow(endpoint: DeliverableEndpoint): boolean;
  /** Lets what is under way end. */
  close(): Promise<void>;
  /** Breaks off what is under way. */
  destroy(): Promise<void>;
};

export type SenderOptions = {
  clock: Clock;
  policy: AddressPolicy;
  /** Of Pontage, for the user agent. */
  version: string;
  /** Where the endpoint sets none. */
  deadlineMs?: number;
  /** Uniform in [0, 1): for the ids of spans. */
  random?: () => number;
  /** The system's by default. */
  resolve?: Resolve;
  /** Asked again just before each request is written, which may be long after `send`; always by default. */
  mayWrite?: () => boolean;
};

export function createSender(endpoint: DeliverableEndpoint, options: SenderOptions): Sender {
  const { clock, policy } = options;
  const random = options.random ?? Math.random;
  const mayWrite = options.mayWrite ?? (() => true);
  const deadlineMs = endpoint.deadlineMs ?? options.deadlineMs ?? DEADLINE_DEFAULT_MS;
  const made = requestsOf(endpoint);
  const url = new URL(endpoint.url);
  const path = url.pathname + url.search;
  const sign = createSigner(endpoint.secrets);
  const redactor = createRedactor(endpoint);
  const encrypt = endpoint.encryption === null ? null : createEncrypter(endpoint.encryption);
  const type = encrypt ? ENCRYPTED_TYPE : 'application/json';
  const staticHeaders = ['content-type', type, 'user-agent', `Pontage/${options.version}`, ...endpoint.customHeaders.flat()];
  const { clientCertificate } = endpoint;
  const proxy = policy.egressProxy ? readProxy(policy.egressProxy) : null;
  const open = createOpener({ policy, proxy, clientCertificate, ...(options.resolve ? { resolve: options.resolve } : {}) });

  const connections = new Set<Connection>();
  /** The one that was used last is used first, so that few stay open while little is sent. */
  const idle: Connection[] = [];
  let underWay = 0;
  let destroyed = false;
  let closing: { promise: Promise<void>; resolve: () => void } | null = null;
  let sequenceOf = createSequencer(endpoint.versions);

  function send(event: LoggedEvent, done: (outcome: Outcome) => void): Sending {
    underWay += 1;
    const now = clock.now();
    const end: AttemptEnd = (connection, outcome) => {
      release(connection);
      done(outcome);
    };
    const attempt = new Attempt(now, deadlineMs, redactor, mayWrite, end);
    const body = Buffer.from(renderBody(event));
    if (!encrypt) transmit(attempt, event, body, now);
    else {
      encrypt(body).then(
        (encrypted) => transmit(attempt, event, encrypted, now),
        () => attempt.fail(NOT_ENCRYPTED),
      );
    }
    return attempt;
  }

  function transmit(attempt: Attempt, event: LoggedEvent, body: Buffer, now: number) {
    if (attempt.ended || destroyed) return attempt.fail(NOT_ENCRYPTED);
    const timestamp = String(Math.floor(now / 1_000));
    const signatures = sign(event.id, timestamp, body, now);
    if (!signatures) {
      setImmediate(() => attempt.fail(NO_SECRET));
      return;
    }
    const { bridge, standard } = signatures;
    const headers = [...staticHeaders, 'BridgeApi-Signature', bridge];
    if (standard !== null) headers.push('webhook-id', event.id, 'webhook-timestamp', timestamp, 'webhook-signature', standard);
    const sequence = sequenceOf(event);
    if (sequence !== null) headers.push('pontage-sequence', String(sequence));
    const traceparent = event.traceparent === null ? null : childTraceparent(event.traceparent, random);
    if (traceparent !== null) headers.push('traceparent', traceparent);
    const made = standard === null ? [bridge] : [bridge, standard];
    attempt.dispatch(idle.pop() ?? connect(), { path, headers, body, signatures: made, traceparent });
  }

  function connect(): Connection {
    const connection = new Connection(url.origin, open);
    connections.add(connection);
    return connection;
  }

  function release(connection: Connection | null) {
    underWay -= 1;
    if (connection?.usable) idle.push(connection);
    else for (const each of connections) if (!each.usable) connections.delete(each);
    if (closing && underWay === 0) closeAll(closing);
  }

  function closeAll({ resolve }: { resolve: () => void }) {
    void Promise.all([...connections].map(({ client }) => client.close())).then(resolve, resolve);
  }

  return {
    send,
    follow(changed) {
      if (requestsOf(changed) !== made) return false;
      sequenceOf = createSequencer(changed.versions);
      return true;
    },
    close() {
      if (!closing) {
        closing = Promise.withResolvers<void>();
        if (underWay === 0) closeAll(closing);
      }
      return closing.promise;
    },
    async destroy() {
      destroyed = true;
      for (const connection of connections) connection.discard();
    },
  };
}

/** All that requests and connections are made of, to compare; versions apart. */
function requestsOf({ url, secrets, deadlineMs, customHeaders, clientCertificate, encryption }: DeliverableEndpoint): string {
  return JSON.stringify([url, secrets, deadlineMs, customHeaders, clientCertificate, encryption]);
}
