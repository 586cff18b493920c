/** The test clock of a sandbox application. */
import { z } from 'zod';
import { isoTimestamp, parseDuration } from '../../base/clock.ts';
import { Refusal } from '../../base/errors.ts';
import { RESTLESS } from '../../delivery/rest.ts';
import { type ClockTarget, readClock, readMoment, refusalSentence } from '../../refresh/test-clock/test-clock.ts';
import { readBody } from '../edge/requests.ts';
import { json } from '../edge/responses.ts';
import type { Call, Route } from './calls.ts';

const advanceBody = z.strictObject({
  advance: z
    .string()
    .transform((text, context) => parseDuration(text) ?? refuse(context, 'must be a duration, such as 12h, 30d or 1w'))
    .optional(),
  to: z
    .string()
    .transform((text, context) => readMoment(text) ?? refuse(context, 'must be a moment with its time zone, such as 2030-12-24T08:00:00Z'))
    .optional(),
  deliveries: z.boolean().default(false),
});

function refuse(context: z.RefinementCtx, message: string): never {
  context.addIssue({ code: 'custom', message });
  return z.NEVER;
}

async function show({ services, application }: Call): Promise<Response> {
  const reading = await readClock(services, application.id);
  if (!reading) throw new Refusal('not_found');
  if (reading.environment !== 'sandbox') throw new Refusal('forbidden', refusalSentence('not a sandbox'));
  return json({ now: isoTimestamp(reading.now), ahead_ms: reading.offsetMs });
}

/** Answers when everything that fell due on the way has run. A caller who hangs up stops the clock where it stands. */
async function move({ c, services, application }: Call): Promise<Response> {
  const { advance, to, deliveries: wanted } = await readBody(c, advanceBody);
  if ((advance === undefined) === (to === undefined)) throw new Refusal('bad_request', 'give either `advance` (30d) or `to` (a moment)');
  const target: ClockTarget = to === undefined ? { byMs: advance! } : { to };
  const outcome = await services.moveClock(application.id, { target, deliveries: wanted }, c.req.raw.signal);
  if (outcome.ok) {
    const { from, now, refreshes, events, deliveries } = outcome;
    return json({ from: isoTimestamp(from), now: isoTimestamp(now), refreshes, events, ...(deliveries ? { deliveries } : {}) });
  }
  if (outcome.refusal === 'restless') throw new Refusal('unavailable', RESTLESS);
  const sentence = refusalSentence(outcome.refusal);
  switch (outcome.refusal) {
    case 'not a sandbox':
      throw new Refusal('forbidden', sentence);
    case 'already moving':
      throw new Refusal('conflict', sentence);
    case 'backward':
    case 'too far':
      throw new Refusal('bad_request', sentence);
    case 'unknown application':
      throw new Refusal('not_found');
    default:
      throw outcome.refusal satisfies never;
  }
}

export const sandboxRoutes: readonly Route[] = [
  { method: 'GET', path: '/api/v1/sandbox/clock', answer: show },
  { method: 'POST', path: '/api/v1/sandbox/clock', answer: move },
];
