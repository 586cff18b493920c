/** How a whole server treats the connections that reverse proxies keep open to it. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { Agent, get, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { readConfig } from '../../src/config.ts';
import { startServer } from '../../src/server.ts';

/** How long AWS's load balancers and nginx keep one that is idle. */
const PROXY_IDLE_S = 60;

test('an idle connection is kept longer than a proxy keeps it, and does not hold up a stop', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'pontage-connections-'));
  const read = readConfig({ PONTAGE_PORT: '0', PONTAGE_DATA_DIR: folder, PONTAGE_LOG_LEVEL: 'silent' }, 'development');
  assert.ok(read.ok);
  const running = await startServer(read.config);
  t.after(async () => {
    await running.stop();
    rmSync(folder, { recursive: true, force: true });
  });
  const agent = new Agent({ keepAlive: true });
  t.after(() => agent.destroy());
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    get(`${running.localUrl}/healthz`, { agent }, resolve).on('error', reject);
  });
  const closed = new Promise((resolve) => answer.socket.once('close', resolve));
  answer.resume();
  const timeout = Number(/^timeout=(\d+)$/.exec(String(answer.headers['keep-alive']))?.[1]);
  assert.ok(timeout > PROXY_IDLE_S, `kept for ${timeout} s`);
  await running.stop();
  await closed;
});
