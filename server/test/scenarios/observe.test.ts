/** Who may scrape a server, and what it says of a refresh and its webhooks. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type Mode, readConfig } from '../../src/config.ts';
import { startServer } from '../../src/server.ts';

const TOKEN = '0f1e2d3c4b5a69788796a5b4c3d2e1f0';

async function start(t: TestContext, mode: Mode, more: Record<string, string> = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'pontage-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const read = readConfig(
    { PONTAGE_DATA_DIR: folder, PONTAGE_PORT: '0', PONTAGE_LOG_LEVEL: 'silent', PONTAGE_HOST: '127.0.0.1', ...more },
    mode,
  );
  assert.ok(read.ok);
  const server = await startServer(read.config);
  t.after(() => server.stop());
  return server;
}

test('the development mode shows its metrics to this machine, and to nobody through a proxy on it', async (t) => {
  const { localUrl } = await start(t, 'development');
  const response = await fetch(`${localUrl}/metrics`);
  assert.equal(response.status, 200);
  assert.match(await response.text(), /^pontage_lanes_owned \d+$/m);
  assert.equal((await fetch(`${localUrl}/metrics`, { headers: { 'x-forwarded-for': '203.0.113.7' } })).status, 404);
});

test('every hour of the log is audited, and the metrics say since when', async (t) => {
  const { localUrl } = await start(t, 'development');
  const auditedAt = async () => Number(/^pontage_audit_log_seconds (\S+)$/m.exec(await (await fetch(`${localUrl}/metrics`)).text())?.[1]);
  let at = await auditedAt();
  while (at === 0) at = await auditedAt();
  assert.ok(at > 1_700_000_000);
});

test('in production metrics are for whoever shows the token, and do not exist for others', async (t) => {
  const production = { PONTAGE_SECRET_KEY: 'Vq3x9ZrT5mK8wY2nB7cD4fG6hJ1kL0pQ', PONTAGE_PUBLIC_URL: 'https://banks.example.com' };
  const closed = await start(t, 'production', production);
  assert.equal((await fetch(`${closed.localUrl}/metrics`)).status, 404);
  const open = await start(t, 'production', { ...production, PONTAGE_METRICS_TOKEN: TOKEN });
  const scrape = (authorization?: string) =>
    fetch(`${open.localUrl}/metrics`, authorization === undefined ? {} : { headers: { authorization } });
  assert.equal((await scrape()).status, 404);
  assert.equal((await scrape(`Bearer ${TOKEN.slice(1)}0`)).status, 404);
  assert.equal((await scrape(`Bearer ${TOKEN}`)).status, 200);
});
