/** Connect at the front door of a whole server: what is committed when, and what reaches the disk. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { createApplication } from '../../src/access/applications.ts';
import { createConnectSession } from '../../src/access/connect-sessions.ts';
import { readConfig } from '../../src/config.ts';
import { LANES, readLane } from '../../src/events/log.ts';
import { type RunningServer, startServer } from '../../src/server.ts';
import { sql } from '../../src/storage/sql.ts';
import { ENGINES, type Engine, freshTarget } from '../support/engines.ts';
import { createVisitor } from '../support/visitor.ts';

const USER = '5d0c6d6e-6a6c-4c4f-8f5b-0d6a3f1d9b10';
/** Long enough to look at the log while the bank still thinks. */
const LATENCY_MS = 200;
/** How often a page that waits is asked again here. */
const POLL_MS = 100;
const PASSWORD = 'correct-horse-battery-staple-1789';

async function server(engine: Engine, t: TestContext): Promise<{ running: RunningServer; folder: string; link: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'pontage-connect-'));
  const target = await freshTarget(engine, t);
  const read = readConfig(
    {
      PONTAGE_PORT: '0',
      PONTAGE_DATA_DIR: folder,
      PONTAGE_LOG_LEVEL: 'silent',
      ...('databaseUrl' in target ? { DATABASE_URL: target.databaseUrl } : {}),
    },
    'development',
  );
  assert.ok(read.ok);
  const running = await startServer(read.config, { demoBankLatencyMs: LATENCY_MS });
  t.after(async () => {
    await running.stop();
    rmSync(folder, { recursive: true, force: true });
  });
  const { storage, clock } = running.services;
  const token = await storage.transaction(async (tx) => {
    const now = clock.now();
    const { id } = await createApplication(tx, { name: 'Exemple', environment: 'sandbox', redirectUrl: null }, now);
    await tx.run(sql`insert into users (uuid, application_id, created_at) values (${USER}, ${id}, ${now})`);
    return createConnectSession(tx, { applicationId: id, userUuid: USER, purpose: 'add', language: 'en' }, now);
  });
  return { running, folder, link: `/connect/session/${token}` };
}

for (const engine of ENGINES) {
  test(`${engine}: item.created is in the log when the button has been pressed and the bank not yet answered`, async (t) => {
    const { running, folder, link } = await server(engine, t);
    const { storage } = running.services;
    const user = createVisitor(fetch, running.localUrl);
    const form = await user.submit(await user.submit(await user.get(link), {}), { bank_id: '574' });
    let page = await user.submit(form, { USER: 'success', PWD: PASSWORD });

    const logged = async () => (await Promise.all(Array.from({ length: LANES }, (_, lane) => readLane(storage, lane, 0, 1_000)))).flat();
    assert.deepEqual(
      (await logged()).map(({ type }) => type),
      ['item.created'],
    );
    assert.deepEqual(
      (await storage.all<{ state: string }>(sql`select state from refreshes where finished_at is null`)).map(({ state }) => state),
      ['authenticating'],
    );
    assert.equal(page.heading, 'Connecting to Demo bank');

    const progress = new Set<string>();
    while (page.waits) {
      progress.add(/<p class="progress-text">([^<]*)</.exec(page.html)?.[1] ?? '');
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      page = await user.get(link);
    }
    assert.equal(page.heading, 'You are connected');
    assert.ok(
      [...progress].filter((text) => /^\d+ of \d+ accounts$/.test(text)).length >= 2,
      `progress moves: ${[...progress].join(', ')}`,
    );
    if (engine === 'sqlite') {
      await running.stop();
      for (const file of readdirSync(folder)) assert.ok(!readFileSync(join(folder, file)).includes(PASSWORD), file);
    }
  });
}

test('what Connect does not know is a page of its own, with its headers; a crowd of clicks makes one item', async (t) => {
  const { running, link } = await server('sqlite', t);
  const user = createVisitor(fetch, running.localUrl);
  for (const path of ['/connect', '/connect/', '/connect/x/y', `${link}/nothing`]) {
    const page = await user.get(path);
    assert.equal(page.status, 404, path);
    assert.equal(page.heading, 'This page does not exist', path);
    assert.match(page.headers.get('content-security-policy') ?? '', /default-src 'none'/);
  }
  const form = await user.submit(await user.submit(await user.get(link), {}), { bank_id: '574' });
  await Promise.all(Array.from({ length: 8 }, () => user.submit(form, { USER: 'success', PWD: PASSWORD })));
  const { storage } = running.services;
  assert.equal((await storage.all(sql`select id from items`)).length, 1);
});
