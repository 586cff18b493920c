/** `pontage audit` as a program beside the data folder: what it prints, and how it ends. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { readConfig } from '../../src/config.ts';
import { openServices } from '../../src/services.ts';
import { sql } from '../../src/storage/sql.ts';
import { APPLICATION, append, createApplication, deliver, endpoint, everything, settleAll } from '../../src/upkeep/testing.ts';

const MAIN = join(import.meta.dirname, '..', '..', 'src', 'main.ts');

async function run(args: string[], environment: Record<string, string>): Promise<{ code: number; text: string }> {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', MAIN, ...args], {
    env: { PATH: process.env.PATH, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (text += chunk.toString()));
  const [code] = (await once(child, 'close')) as [number];
  return { code, text };
}

test('says where every event is, and ends with 1 and the names of what is missing', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'pontage-audit-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const environment = { PONTAGE_DATA_DIR: folder };
  const read = readConfig(environment, 'development');
  assert.ok(read.ok);
  const { storage } = await openServices(read.config, 'always');
  t.after(() => storage.close());
  await createApplication(storage);

  assert.deepEqual(await run(['audit', '--since', '1h'], environment).then(({ code, text }) => [code, text.split(' since')[0]]), [
    0,
    'No webhook had an event',
  ]);
  await endpoint(storage, 'wh_one');
  await append(storage, [1, 2, 3], Date.now());
  const [lost, ...rest] = await everything(storage);
  await deliver(storage, rest, 'wh_one');
  const flying = await run(['audit'], environment);
  assert.equal(flying.code, 0);
  assert.match(flying.text, /WEBHOOK +MATCHED +DELIVERED +IN FLIGHT\nwh_one +3 +2 +1\nBalanced: /);

  await settleAll(storage);
  const missing = await run(['audit', '--app', APPLICATION], environment);
  assert.equal(missing.code, 1);
  assert.match(missing.text, new RegExp(`wh_one +3 +2\n${lost!.id} for wh_one is lost: not delivered, and waits nowhere\nNOT balanced`));
  const machine = await run(['audit', '--json'], environment);
  assert.equal(machine.code, 1);
  const found = JSON.parse(machine.text) as { balanced: boolean; faults: unknown[]; hours: { matched: number; in_flight: number }[] };
  assert.equal(found.balanced, false);
  assert.deepEqual(found.faults, [{ event_id: lost!.id, webhook_id: 'wh_one', classes: [] }]);
  assert.deepEqual([found.hours.length, found.hours[0]?.matched, found.hours[0]?.in_flight], [1, 3, 0]);

  await deliver(storage, [lost!], 'wh_one');
  await storage.transaction((tx) =>
    tx.run(
      sql`insert into parked (endpoint_id, lane, seq, state, attempts, parked_at) values ('wh_one', ${lost!.lane}, ${lost!.seq}, 'retry', 1, 0)`,
    ),
  );
  const twice = await run(['audit'], environment);
  assert.equal(twice.code, 1);
  assert.match(twice.text, /is counted twice: delivered and retry/);
  assert.equal((await run(['audit', '--since', 'yesterday'], environment)).code, 2);
  assert.equal((await run(['audit', '--app', 'nobody'], environment)).code, 1);
});
