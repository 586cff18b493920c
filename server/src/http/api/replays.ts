/** Replays: events of the log sent again, to the webhook that missed them or to a new one. */
import { z } from 'zod';
import { isoTimestamp } from '../../base/clock.ts';
import { Refusal } from '../../base/errors.ts';
import { type Progress, progressOf, progressOfAll } from '../../delivery/replay/progress.ts';
import {
  createReplay,
  findReplay,
  findReplayByKey,
  listReplays,
  type Move,
  moveReplay,
  REPLAY_RATE_PER_S_DEFAULT,
  REPLAY_RATE_PER_S_MAX,
  REPLAY_RATE_PER_S_MIN,
  REPLAYS_OPEN_MAX,
  type Replay,
  type ReplayFilter,
} from '../../delivery/replay/replays.ts';
import { countSelected, READS_FOR_DRY_RUN_MAX } from '../../delivery/replay/selection.ts';
import { findEndpoint } from '../../endpoints/endpoints.ts';
import { SUBSCRIBABLE_TYPES } from '../../events/catalogue.ts';
import { eventId } from '../../events/log.ts';
import { type CursorForm, decodeCursor, encodeCursor, pageQuery } from '../edge/cursors.ts';
import { dateTime, isSpan, readBody, readQuery, SPAN_ISSUE } from '../edge/requests.ts';
import { json } from '../edge/responses.ts';
import type { Call, Route } from './calls.ts';
import { pathEvent } from './events.ts';
import { pathWebhook } from './webhooks.ts';

/** Of one replay; for more, leave the filter out. */
const ITEMS_MAX = 1_000;
/** Some 36 characters name a start well; more is a mistake, and would be stored. */
const IDEMPOTENCY_KEY_CHARACTERS_MAX = 255;

const common = {
  dry_run: z.boolean().default(false),
  rate_per_s: z.number().min(REPLAY_RATE_PER_S_MIN).max(REPLAY_RATE_PER_S_MAX).optional(),
};
const replayBody = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('dead'), ...common }),
  z
    .strictObject({
      kind: z.literal('range'),
      since: dateTime.optional(),
      until: dateTime.optional(),
      types: z.array(z.enum(SUBSCRIBABLE_TYPES)).min(1).optional(),
      item_ids: z.array(z.int().positive()).min(1).max(ITEMS_MAX).optional(),
      outcome: z.enum(['delivered', 'failed']).optional(),
      ...common,
    })
    .refine(isSpan, SPAN_ISSUE),
]);

function filterOf(body: z.infer<typeof replayBody>): ReplayFilter {
  if (body.kind === 'dead') return { kind: 'dead' };
  const { since = null, until = null, types = null, item_ids: itemIds = null, outcome = null } = body;
  return { kind: 'range', since, until, types, itemIds, outcome };
}

async function start(call: Call): Promise<Response> {
  const endpoint = await pathWebhook(call);
  const body = await readBody(call.c, replayBody);
  return begin(call, { endpointId: endpoint.id, filter: filterOf(body), ratePerS: body.rate_per_s ?? null, dryRun: body.dry_run });
}

async function resend(call: Call): Promise<Response> {
  const event = await pathEvent(call);
  const { webhook_id: webhookId } = await readBody(call.c, z.strictObject({ webhook_id: z.string() }));
  const endpoint = await findEndpoint(call.services.storage, webhookId);
  if (!endpoint || endpoint.applicationId !== call.application.id) throw new Refusal('not_found');
  return begin(call, { endpointId: endpoint.id, filter: { kind: 'one', lane: event.lane, seq: event.seq }, ratePerS: null, dryRun: false });
}

type Wish = { endpointId: string; filter: ReplayFilter; ratePerS: number | null; dryRun: boolean };

async function begin({ c, services: { storage }, application, realNow }: Call, { dryRun, ...wish }: Wish): Promise<Response> {
  const asked = { applicationId: application.id, ...wish };
  if (dryRun) {
    const { total, atLeast } = await countSelected(storage, asked, READS_FOR_DRY_RUN_MAX);
    return json({ dry_run: true, total, at_least: atLeast });
  }
  const idempotencyKey = readIdempotencyKey(c.req.header('Idempotency-Key'));
  const known = idempotencyKey === null ? null : await findReplayByKey(storage, application.id, idempotencyKey);
  if (known) return answerStarted(storage, known, wish);
  const { total, atLeast, ranges } = await countSelected(storage, asked);
  if (total === 0 && wish.filter.kind === 'one')
    throw new Refusal(
      'unprocessable',
      'This event cannot be sent to this webhook: it was erased, is a test of another webhook, or tells of this one',
    );
  const replay = await createReplay(storage, { ...asked, total, atLeast, idempotencyKey }, ranges, realNow);
  if (!replay)
    throw new Refusal('conflict', `An application has at most ${REPLAYS_OPEN_MAX} replays that run or are paused: wait, or cancel one`);
  return answerStarted(storage, replay, wish);
}

/** Whoever heard no answer and asks again is answered like the first time; a key that names two things is a mistake. */
async function answerStarted(storage: Call['services']['storage'], replay: Replay, wish: Omit<Wish, 'dryRun'>): Promise<Response> {
  const isSame =
    replay.endpointId === wish.endpointId &&
    replay.ratePerS === (wish.ratePerS ?? REPLAY_RATE_PER_S_DEFAULT) &&
    JSON.stringify(replay.filter) === JSON.stringify(wish.filter);
  if (!isSame) throw new Refusal('unprocessable', `This Idempotency-Key has started another replay: ${replay.id}`);
  return json(await show(storage, replay), 201);
}

function readIdempotencyKey(header: string | undefined): string | null {
  if (header === undefined) return null;
  if (header.length > 0 && header.length <= IDEMPOTENCY_KEY_CHARACTERS_MAX && /^[!-~]+$/.test(header)) return header;
  throw new Refusal('bad_request', `Idempotency-Key: must be 1 to ${IDEMPOTENCY_KEY_CHARACTERS_MAX} printable characters without spaces`);
}

async function pathReplay({ c, services, application }: Call): Promise<Replay> {
  const replay = await findReplay(services.storage, c.req.param('id') ?? '');
  if (!replay || replay.applicationId !== application.id) throw new Refusal('not_found');
  return replay;
}

async function one(call: Call): Promise<Response> {
  return json(await show(call.services.storage, await pathReplay(call)));
}

const replayCursor: CursorForm<{ createdAt: number; id: string }> = {
  write: ({ createdAt, id }) => `${createdAt}_${id}`,
  read: (text) => {
    const match = /^(\d{1,16})_(rpl_[0-9a-z]{1,40})$/.exec(text);
    return match ? { createdAt: Number(match[1]), id: match[2]! } : null;
  },
};

async function list({ c, services, application }: Call): Promise<Response> {
  const query = readQuery(c, z.strictObject(pageQuery));
  const after = decodeCursor(replayCursor, query.after);
  const replays = await listReplays(services.storage, { applicationId: application.id, after, limit: query.limit + 1 });
  const shown = replays.slice(0, query.limit);
  const next = replays.length > query.limit ? encodeCursor(replayCursor, shown.at(-1)!) : null;
  const progress = await progressOfAll(services.storage, shown);
  return json({ replays: shown.map((replay) => showReplay(replay, progress.get(replay.id)!)), next });
}

function move(what: Move): (call: Call) => Promise<Response> {
  return async (call) => {
    const { id, state } = await pathReplay(call);
    await readBody(call.c, z.strictObject({}));
    if (!(await moveReplay(call.services.storage, id, what, call.realNow)))
      throw new Refusal('conflict', `This replay is ${state}: it cannot ${what} now`);
    return one(call);
  };
}

async function show(storage: Call['services']['storage'], replay: Replay): Promise<object> {
  return showReplay(replay, await progressOf(storage, replay));
}

function showReplay(replay: Replay, progress: Progress): object {
  return {
    id: replay.id,
    webhook_id: replay.endpointId,
    ...showFilter(replay.filter),
    state: replay.state,
    rate_per_s: replay.ratePerS,
    total: replay.total,
    at_least: replay.atLeast,
    progress,
    created_at: isoTimestamp(replay.createdAt),
    finished_at: replay.finishedAt === null ? null : isoTimestamp(replay.finishedAt),
  };
}

const timeOrNull = (ms: number | null) => (ms === null ? null : isoTimestamp(ms));

function showFilter(filter: ReplayFilter): object {
  switch (filter.kind) {
    case 'one':
      return { kind: 'one', event_id: eventId(filter.lane, filter.seq) };
    case 'dead':
      return { kind: 'dead' };
    case 'range': {
      const { since, until, types, itemIds, outcome } = filter;
      return { kind: 'range', since: timeOrNull(since), until: timeOrNull(until), types, item_ids: itemIds, outcome };
    }
    default:
      return filter satisfies never;
  }
}

export const replayRoutes: readonly Route[] = [
  { method: 'POST', path: '/api/v1/webhooks/:id/replays', answer: start },
  { method: 'POST', path: '/api/v1/events/:id/resend', answer: resend },
  { method: 'GET', path: '/api/v1/replays', answer: list },
  { method: 'GET', path: '/api/v1/replays/:id', answer: one },
  { method: 'POST', path: '/api/v1/replays/:id/pause', answer: move('pause') },
  { method: 'POST', path: '/api/v1/replays/:id/resume', answer: move('resume') },
  { method: 'POST', path: '/api/v1/replays/:id/cancel', answer: move('cancel') },
];
