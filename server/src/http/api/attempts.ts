/** Attempts: every time an event was sent to a webhook, with its timings and a sentence for what failed. */
import { z } from 'zod';
import { isoTimestamp } from '../../base/clock.ts';
import { Refusal } from '../../base/errors.ts';
import { isEndpointOf, listAttempts, listedEndpoints } from '../../delivery/attempts/list.ts';
import type { AttemptKey } from '../../delivery/attempts/order.ts';
import { ATTEMPT_SOURCES, type Attempt } from '../../delivery/attempts/read.ts';
import { SUBSCRIBABLE_TYPES, TEST_EVENT } from '../../events/catalogue.ts';
import { eventId, LANES } from '../../events/log.ts';
import { type CursorForm, decodeCursor, encodeCursor, pageQuery } from '../edge/cursors.ts';
import { dateTime, idText, isSpan, readQuery, SPAN_ISSUE } from '../edge/requests.ts';
import { json } from '../edge/responses.ts';
import type { Call, Route } from './calls.ts';

const integer = z.int().min(0);
const keyForm = z.tuple([
  integer,
  integer.max(LANES - 1),
  integer,
  z.string().max(64),
  z.enum(ATTEMPT_SOURCES),
  z.string().max(64),
  integer,
]);

const attemptCursor: CursorForm<AttemptKey> = {
  write: ({ at, lane, seq, endpointId, source, replayId, n }) => JSON.stringify([at, lane, seq, endpointId, source, replayId, n]),
  read(text) {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      return null;
    }
    const key = keyForm.safeParse(value);
    if (!key.success) return null;
    const [at, lane, seq, endpointId, source, replayId, n] = key.data;
    return { at, lane, seq, endpointId, source, replayId, n };
  },
};

/** What has attempts: events of the log, and the tests that every webhook may get. */
const TYPES = [...SUBSCRIBABLE_TYPES, TEST_EVENT] as const;

const attemptsQuery = z
  .strictObject({
    ...pageQuery,
    webhook_id: z.string().optional(),
    item_id: idText.optional(),
    type: z.enum(TYPES, `there is no event type of this name: choose of ${TYPES.join(', ')}`).optional(),
    outcome: z.enum(['delivered', 'failed'], 'must be delivered or failed').optional(),
    status: z
      .string()
      .regex(/^[1-5]\d\d$/, 'must be a status of HTTP')
      .transform(Number)
      .optional(),
    since: dateTime.optional(),
    until: dateTime.optional(),
  })
  .refine(isSpan, SPAN_ISSUE);

async function list({ c, services, application }: Call): Promise<Response> {
  const { limit, after, webhook_id: webhookId, item_id: itemId, ...filter } = readQuery(c, attemptsQuery);
  const { storage } = services;
  if (webhookId !== undefined && !(await isEndpointOf(storage, application.id, webhookId))) throw new Refusal('not_found');
  const { attempts, next } = await listAttempts(storage, {
    applicationId: application.id,
    endpointIds: webhookId === undefined ? await listedEndpoints(storage, application.id) : [webhookId],
    filter: { itemId, ...filter },
    after: decodeCursor(attemptCursor, after),
    limit,
  });
  return json({ attempts: attempts.map(showAttempt), next: next === null ? null : encodeCursor(attemptCursor, next) });
}

export function showAttempt(attempt: Attempt): object {
  return {
    event_id: eventId(attempt.lane, attempt.seq),
    type: attempt.type,
    item_id: attempt.itemId,
    webhook_id: attempt.endpointId,
    source: attempt.source,
    replay_id: attempt.replayId === '' ? null : attempt.replayId,
    n: attempt.n,
    at: isoTimestamp(attempt.at),
    outcome: attempt.delivered ? 'delivered' : 'failed',
    status: attempt.status,
    timings: {
      dns_ms: attempt.dnsMs,
      connect_ms: attempt.connectMs,
      tls_ms: attempt.tlsMs,
      first_byte_ms: attempt.firstByteMs,
      total_ms: attempt.durationMs,
    },
    failure: attempt.failure,
    message: attempt.message,
    answer: attempt.snippet,
  };
}

export const attemptRoutes: readonly Route[] = [{ method: 'GET', path: '/api/v1/attempts', answer: list }];
