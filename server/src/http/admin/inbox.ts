/** The built-in inbox of development mode: a receiver like a customer's own, and what it has received. */
import { verify } from '@pontage/sdk';
import { renderBody } from '../../events/catalogue.ts';
import { eventId } from '../../events/log.ts';
import { sql } from '../../storage/sql.ts';
import type { Reader } from '../../storage/storage.ts';
import type { InboxEvent } from './views/inbox.ts';
import type { EventContent } from './views/sentences.ts';

/** As many as a page can show; older ones are in the log (`pontage event list`). */
export const INBOX_EVENTS_KEPT = 500;
/** Pages listening at once: more than anybody has open. */
const LISTENERS_MAX = 50;
const SHOWN_HEADERS = ['content-type', 'user-agent', 'bridgeapi-signature', 'webhook-id', 'webhook-timestamp', 'webhook-signature'];
/** Keeps proxies and browsers from giving the stream up. */
const STREAM_PULSE_MS = 15_000;

export type Inbox = {
  /** Checks and keeps a request; answers whether its signatures were right, and why not. */
  receive(body: Uint8Array, headers: Headers, secrets: readonly string[], now: number): { ok: true } | { ok: false; message: string };
  /** Newest first. */
  events(): readonly InboxEvent[];
  kindsSeen(): readonly string[];
  /** Server-sent events, one message per webhook; null when too many listen. */
  stream(): ReadableStream<Uint8Array> | null;
  /** Ends all streams. */
  close(): void;
};

export function createInbox(received: readonly InboxEvent[]): Inbox {
  let events: readonly InboxEvent[] = received;
  let unverifiedCount = 0;
  const kinds = new Set(received.map(({ type }) => type));
  const listeners = new Set<{ send(text: string): void; end(): void }>();

  function keep(event: InboxEvent): void {
    kinds.add(event.type);
    events = [event, ...events.filter(({ id }) => id !== event.id)].slice(0, INBOX_EVENTS_KEPT);
    for (const listener of listeners) listener.send(`data: ${JSON.stringify(event)}\n\n`);
  }

  return {
    receive(body, headers, secrets, now) {
      const text = new TextDecoder().decode(body);
      const shown = Object.fromEntries(SHOWN_HEADERS.flatMap((name) => (headers.has(name) ? [[name, headers.get(name) ?? '']] : [])));
      const seen = { receivedAt: now, body: text, headers: shown };
      try {
        const event = verify(body, headers, secrets, { now, requireTimestamp: true });
        const content = event.content as EventContent;
        keep({ ...seen, id: shown['webhook-id'] ?? text, verified: true, type: event.type, content, timestamp: event.timestamp });
        return { ok: true };
      } catch (error) {
        unverifiedCount += 1;
        keep({ ...seen, id: `unverified-${unverifiedCount}`, verified: false, type: 'unverified', content: {}, timestamp: now });
        return { ok: false, message: (error as Error).message };
      }
    },
    events: () => events,
    kindsSeen: () => [...kinds],
    stream() {
      if (listeners.size >= LISTENERS_MAX) return null;
      const encoder = new TextEncoder();
      let release = () => {};
      return new ReadableStream<Uint8Array>({
        start(controller) {
          const listener = {
            send: (message: string) => controller.enqueue(encoder.encode(message)),
            end: () => {
              release();
              controller.close();
            },
          };
          const pulse = setInterval(() => listener.send(': still here\n\n'), STREAM_PULSE_MS);
          release = () => {
            clearInterval(pulse);
            listeners.delete(listener);
          };
          listeners.add(listener);
          listener.send('retry: 2000\n\n');
        },
        cancel: () => release(),
      });
    },
    close() {
      for (const listener of [...listeners]) listener.end();
    },
  };
}

type DeliveredRow = { lane: number; seq: number; type: string; content: string; timestamp: number; at: number };

/** What the endpoint answered with success before this process began, newest first: the inbox verified it then. */
export async function deliveredBefore(reader: Reader, endpointId: string): Promise<InboxEvent[]> {
  const rows = await reader.all<DeliveredRow>(sql`
    select e.lane, e.seq, e.type, e.content, e.timestamp, a.at from attempts a join events e on e.lane = a.lane and e.seq = a.seq
    where a.endpoint_id = ${endpointId} and a.delivered = 1 order by a.at desc, a.seq desc limit ${INBOX_EVENTS_KEPT}`);
  return rows.map((row) => ({
    id: eventId(row.lane, row.seq),
    receivedAt: row.at,
    verified: true,
    type: row.type,
    content: JSON.parse(row.content) as EventContent,
    timestamp: row.timestamp,
    body: renderBody(row),
    headers: { 'webhook-id': eventId(row.lane, row.seq) },
  }));
}
