/** The built-in inbox of development mode: a receiver like a customer's own, and what it has received. */
import { verify } from '@pontage/sdk';
import { listAttempts } from '../../delivery/attempts/list.ts';
import { renderBody } from '../../events/catalogue.ts';
import { eventId, type LoggedEvent, readEvents } from '../../events/log.ts';
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

/** What the endpoint answered with success before this process began, newest first: the inbox verified it then. */
export async function deliveredBefore(reader: Reader, endpoint: { id: string; applicationId: string }): Promise<InboxEvent[]> {
  const { attempts } = await listAttempts(reader, {
    applicationId: endpoint.applicationId,
    endpointIds: [endpoint.id],
    filter: { outcome: 'delivered' },
    after: null,
    limit: INBOX_EVENTS_KEPT,
  });
  const events = new Map<string, LoggedEvent>();
  for (const [lane, ofLane] of Map.groupBy(attempts, (attempt) => attempt.lane)) {
    const seqs = ofLane.map(({ seq }) => seq);
    for (const event of await readEvents(reader, lane, seqs)) events.set(event.id, event);
  }
  return attempts.flatMap(({ lane, seq, at }) => {
    const event = events.get(eventId(lane, seq));
    return event ? [receivedEvent(event, at)] : [];
  });
}

function receivedEvent(event: LoggedEvent, receivedAt: number): InboxEvent {
  const { id, type, content, timestamp } = event;
  return {
    id,
    receivedAt,
    verified: true,
    type,
    content: JSON.parse(content) as EventContent,
    timestamp,
    body: renderBody(event),
    headers: { 'webhook-id': id },
  };
}
