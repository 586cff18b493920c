/** For tests of one attempt: an endpoint and an event without a database, and receivers that speak raw TCP. */
import { once } from 'node:events';
import { createServer as createHttpServer, type IncomingMessage } from 'node:http';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import type { AddressPolicy } from '../../endpoints/addresses.ts';
import type { DeliverableEndpoint } from '../../endpoints/endpoints.ts';
import { DEFAULT_SETTINGS } from '../../endpoints/settings.ts';
import { EVENT_TYPES } from '../../events/catalogue.ts';
import { eventId, type LoggedEvent } from '../../events/log.ts';
import type { Outcome } from '../job.ts';
import { createSender, type Sender, type SenderOptions } from './sender.ts';

export const DEVELOPMENT: AddressPolicy = { allowLoopback: true, allowedRanges: [] };
export const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
export const NOW = 1_780_000_000_000;

export function anEndpoint(url: string, fields: Partial<DeliverableEndpoint> = {}): DeliverableEndpoint {
  return {
    ...DEFAULT_SETTINGS,
    id: 'wh_test',
    applicationId: 'app_test',
    url,
    enabled: true,
    skipThrough: null,
    secrets: [{ secret: SECRET, expiresAt: null }],
    versions: [{ version: 1, events: EVENT_TYPES, from: [0] }],
    ...fields,
  };
}

export function anEvent(fields: Partial<LoggedEvent> = {}): LoggedEvent {
  return {
    id: eventId(0, fields.seq ?? 1),
    segment: 1,
    lane: 0,
    seq: 1,
    applicationId: 'app_test',
    type: 'item.created',
    userUuid: null,
    itemId: 1,
    accountId: null,
    refreshId: null,
    endpointId: null,
    content: '{"user_uuid":"9a95b38f-f98b-417a-988b-9d0d584893e7","item_id":1}',
    timestamp: NOW,
    committedAt: NOW,
    sequences: null,
    traceparent: null,
    aboutEndpointId: null,
    erased: false,
    ...fields,
  };
}

export type Sending = Sender & { attempt(event?: LoggedEvent): Promise<Outcome> };

/** Ends with its test. */
export function startSender(t: TestContext, endpoint: DeliverableEndpoint, options: Partial<SenderOptions> = {}): Sending {
  const sender = createSender(endpoint, {
    clock: { now: () => NOW },
    policy: DEVELOPMENT,
    version: '1.2.3',
    deadlineMs: 5_000,
    ...options,
  });
  t.after(() => sender.destroy());
  return { ...sender, attempt: (event = anEvent()) => new Promise((resolve) => sender.send(event, resolve)) };
}

export type RawReceiver = { url: string; port: number; requests: string[]; connections: number };

/** Calls `answer` once for each request, when its body (by content-length) is complete. */
export async function startRaw(t: TestContext, answer: (socket: Socket, request: string) => void): Promise<RawReceiver> {
  const sockets = new Set<Socket>();
  const receiver: RawReceiver = { url: '', port: 0, requests: [], connections: 0 };
  const server = createServer((socket) => {
    sockets.add(socket);
    receiver.connections += 1;
    // A client that breaks off is part of these tests.
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
      const head = text.indexOf('\r\n\r\n');
      const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0);
      if (head === -1 || text.length < head + 4 + length) return;
      const request = text.slice(0, head + 4 + length);
      text = text.slice(request.length);
      receiver.requests.push(request);
      answer(socket, request);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  receiver.port = (server.address() as AddressInfo).port;
  receiver.url = `http://127.0.0.1:${receiver.port}/hooks`;
  return receiver;
}

export type HoldingProxy = { url: string; asked(count: number): Promise<void>; letGo(): void };

/** An egress proxy that connects nobody until it is told to. */
export async function startHoldingProxy(t: TestContext): Promise<HoldingProxy> {
  const sockets = new Set<Socket>();
  const held: (() => void)[] = [];
  const waiting: { count: number; resolve: () => void }[] = [];
  let holding = true;
  const server = createHttpServer();
  server.on('connect', (request: IncomingMessage, client: Socket) => {
    sockets.add(client);
    const go = () => {
      const upstream = connect(Number(request.url!.split(':')[1]), '127.0.0.1', () => {
        client.write('HTTP/1.1 200 Connection established\r\n\r\n');
        client.pipe(upstream).pipe(client);
      });
      sockets.add(upstream);
      for (const socket of [client, upstream]) socket.on('error', () => {});
    };
    if (!holding) return go();
    held.push(go);
    for (const { count, resolve } of waiting) if (held.length >= count) resolve();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked: (count) =>
      new Promise((resolve) => {
        if (held.length >= count) resolve();
        else waiting.push({ count, resolve });
      }),
    letGo() {
      holding = false;
      for (const go of held) go();
    },
  };
}
