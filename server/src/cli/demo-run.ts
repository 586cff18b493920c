/** The narrated run: a whole installation in a temporary folder, from the first user to the fifth kind of webhook. */
import { createApplication } from '../access/applications.ts';
import { DAY_MS, isoTimestamp } from '../base/clock.ts';
import { type Config, OperatorError } from '../config.ts';
import { createEndpoint } from '../endpoints/endpoints.ts';
import { EVENT_TYPES } from '../events/catalogue.ts';
import { parseEventId, readEvents } from '../events/log.ts';
import { eventSentence } from '../http/admin/views/sentences.ts';
import { findRefresh } from '../items/refreshes.ts';
import { advanceClock, refusalSentence } from '../refresh/test-clock/test-clock.ts';
import { type RunningServer, startServer } from '../server.ts';
import type { Services } from '../services.ts';
import { sql } from '../storage/sql.ts';
import { type Received, startReceiver } from './demo-receiver.ts';
import { connectDemoBank, createUserLink } from './demo-user.ts';

/** The Demo Bank shows all five kinds within days; a month without one of them is a fault. */
const DAYS_MAX = 31;
/** What is committed arrives within milliseconds; this long means that it does not. */
const ARRIVAL_MAX_MS = 5_000;
const RUN_MAX_MS = 60_000;

export type Narrator = {
  say(line: string): void;
  event(received: Received, cause: string): void;
  end(kinds: readonly string[], days: number, seconds: number): void;
};

export async function demonstrate(config: Config, tell: Narrator): Promise<void> {
  const startedAt = performance.now();
  const limit = AbortSignal.timeout(RUN_MAX_MS);
  const server = await startServer(config);
  tell.say(`A server runs on ${server.publicUrl}, with its data in ${config.dataDir}`);
  const arrivals: Promise<void>[] = [];
  const kinds = new Set<string>();
  const receiver = await startReceiver((received) => {
    if (received.verified) kinds.add(received.type);
    arrivals.push(causeOf(server.services, received).then((cause) => tell.event(received, cause)));
  });
  try {
    tell.say(`A receiver listens on ${receiver.url}, and checks each signature with the SDK`);
    const application = await setUp(server, receiver);
    tell.say(`Application ${application.clientId} has a webhook for all five kinds of events`);
    const link = await createUserLink(server.publicUrl, application, limit);
    tell.say(`A user is made and authenticated through the API; the application sends them to ${link}`);
    tell.say('The user opens Connect, chooses the Demo bank, types a login and presses "Add your account"');
    const { heading } = await connectDemoBank(link, limit);
    tell.say(`Connect says: ${heading}`);
    await arrived(server.services, receiver, arrivals);
    let days = 0;
    for (; days < DAYS_MAX && kinds.size < EVENT_TYPES.length; days += 1) {
      tell.say('A day passes at the bank');
      const moved = await advanceClock(server.services, application.id, { byMs: DAY_MS }, { signal: limit });
      if (!moved.ok) throw new OperatorError(refusalSentence(moved.refusal));
      await arrived(server.services, receiver, arrivals);
    }
    const refused = receiver.refused();
    if (refused !== null) throw new OperatorError(`A webhook arrived that did not verify: ${refused}`);
    const missing = EVENT_TYPES.filter((type) => !kinds.has(type));
    if (missing.length > 0) throw new OperatorError(`These kinds of events did not arrive within ${days} days: ${missing.join(', ')}`);
    tell.end([...kinds], days, (performance.now() - startedAt) / 1000);
  } finally {
    await server.stop();
    await receiver.close();
  }
}

async function setUp({ services }: RunningServer, receiver: { url: string; useSecret(secret: string): void }) {
  const { storage, vault, clock, policy } = services;
  const fields = { name: 'Demonstration', environment: 'sandbox', redirectUrl: null } as const;
  const application = await storage.transaction((tx) => createApplication(tx, fields, clock.now()));
  const webhook = { name: 'Demonstration', url: receiver.url, events: EVENT_TYPES };
  const created = await createEndpoint({ storage, vault, now: clock.now() }, application.id, webhook, policy);
  if (created.outcome !== 'created') throw new OperatorError(created.sentence);
  receiver.useSecret(created.secret);
  return application;
}

/** Waits until all that was committed has been received, and told. */
async function arrived(
  { storage }: Services,
  receiver: { count(): number; next(limitMs: number): Promise<boolean> },
  told: readonly Promise<void>[],
): Promise<void> {
  const row = await storage.first<{ count: number }>(sql`select count(*) as count from events`);
  while (receiver.count() < (row?.count ?? 0)) {
    if (!(await receiver.next(ARRIVAL_MAX_MS))) throw new OperatorError(`${(row?.count ?? 0) - receiver.count()} webhooks did not arrive.`);
  }
  await Promise.all(told);
}

/** Why an event came to be, from the refresh that made it. */
async function causeOf({ storage }: Services, { id, type }: Received): Promise<string> {
  if (type === 'item.created') return 'Because the user pressed the button';
  const place = parseEventId(id);
  const [event] = place ? await readEvents(storage, place.lane, [place.seq]) : [];
  const refresh = event?.refreshId ? await findRefresh(storage, event.refreshId) : null;
  if (!refresh) return 'For an unknown reason';
  if (refresh.phase === 'recent') return 'Found by the first refresh, which asks for recent data';
  if (refresh.cause === 'connect' || refresh.phase === 'full') return 'Found by the second refresh, which asks for the full history';
  return `Found by the refresh of ${isoTimestamp(refresh.startedAt).slice(0, 16).replace('T', ' ')}, one of two a day`;
}

/** Events of one cause stand together under it. */
export function narrator(): Narrator {
  const out = (line: string) => process.stdout.write(`${line}\n`);
  let lastCause: string | null = null;
  return {
    say(line) {
      lastCause = null;
      out(`\n* ${line}`);
    },
    event({ type, content, verified }, cause) {
      if (cause !== lastCause) out(`    ${cause}:`);
      lastCause = cause;
      out(`      ${verified ? '✓' : '✗'} ${type.padEnd(20)}  ${eventSentence(type, content)}`);
    },
    end: (kinds, days, seconds) =>
      out(
        `\nAll ${kinds.length} kinds of events arrived, every signature verified (✓), in ${seconds.toFixed(1)} s and ${days} days of the bank's time.\nNow with a page to watch it: npm start`,
      ),
  };
}

export function machineNarrator(): Narrator {
  const out = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`);
  return {
    say: (line) => out({ step: line }),
    event: ({ id, type, content, verified, timestamp }, cause) => out({ event: { id, type, content, timestamp }, verified, cause }),
    end: (kinds, days, seconds) => out({ ok: true, kinds, days, seconds: Number(seconds.toFixed(1)) }),
  };
}
