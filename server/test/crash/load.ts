/** Events as refreshes make them, from a process beside the servers: each commit is one to four events of one item. */
import { createApplication } from '../../src/access/applications.ts';
import { createEndpoint } from '../../src/endpoints/endpoints.ts';
import { appendEvents, takeTimestamps } from '../../src/events/append.ts';
import { EVENT_TYPES, type EventDraft } from '../../src/events/catalogue.ts';
import type { Services } from '../../src/services.ts';
import { PATHS, type Receiver } from './receiver.ts';

const ITEMS = 200;
const EVENTS_PER_COMMIT_MAX = 4;
const PAUSE_MS = 8;
/** Failed deliveries come again soon: the story is about crashes, not about patience. */
const RETRY_DELAYS_MS = Array.from({ length: 15 }, () => 1_000);

export async function furnish(services: Services, receiver: Receiver): Promise<string> {
  const { storage, vault, policy, clock } = services;
  const now = clock.now();
  const { id } = await storage.transaction((tx) =>
    createApplication(tx, { name: 'crash', environment: 'sandbox', redirectUrl: null }, now),
  );
  const users = Array.from({ length: ITEMS }, (_, item) => [userOf(item), id, now]);
  await storage.transaction((tx) => tx.insertMany('users', ['uuid', 'application_id', 'created_at'], users));
  for (const path of PATHS) {
    const ordering = path === 'slow' ? 'none' : 'item';
    const fields = { name: path, url: receiver.url(path), events: [...EVENT_TYPES], ordering, retryDelaysMs: RETRY_DELAYS_MS } as const;

    const created = await createEndpoint({ storage, vault, now }, id, fields, policy);
    if (created.outcome !== 'created') throw new Error(created.sentence);
    receiver.secrets[path] = created.secret;
  }
  return id;
}

/** Commits until it is stopped. A database that is down makes it wait, and the log alone says what was committed. */
export function startLoad(services: Services, applicationId: string, random: () => number): { stop(): Promise<void> } {
  let running = true;
  const loop = async () => {
    while (running) {
      await commit(services, applicationId, random).catch(() => {});
      await new Promise((resolve) => setTimeout(resolve, random() * 2 * PAUSE_MS));
    }
  };
  const ended = loop();
  return {
    async stop() {
      running = false;
      await ended;
    },
  };
}

async function commit({ storage, clock }: Services, applicationId: string, random: () => number): Promise<void> {
  const item = Math.floor(random() * ITEMS);
  const count = 1 + Math.floor(random() * EVENTS_PER_COMMIT_MAX);
  await storage.transaction(async (tx) => {
    const now = clock.now();
    const timestamps = await takeTimestamps(tx, userOf(item), now, count);
    const events = timestamps.map((timestamp, index) => ({ draft: draft(item, index), timestamp }));
    await appendEvents(tx, { applicationId, refreshId: null, committedAt: now }, events);
  });
}

function draft(item: number, index: number): EventDraft {
  const owner = { itemId: 4_568_000 + item, userUuid: userOf(item) };
  if (index === 0) return { type: 'item.refreshed', ...owner, fullRefresh: false, statusCode: 0, statusCodeInfo: 'OK' };
  return { type: 'item.account.updated', ...owner, accountId: 22_908_770 + index, balance: null, created: index, updated: 0, deleted: 0 };
}

const userOf = (item: number) => `766b2f5d-a942-492c-9ea7-2e5aa8${String(item).padStart(6, '0')}`;
