/** A server as its operator starts it: how soon it is ready, and what it holds in memory while nothing happens. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freshDatabase, startPostgres } from '../test/support/postgres.ts';
import type { Figure } from './delivery.ts';

type Engine = 'sqlite' | 'postgres';

const MAIN = fileURLToPath(new URL('../src/main.ts', import.meta.url));
const READY_BELOW_MS = 2_000;
const IDLE_BELOW_MB = 150;
/** Long enough for what the start leaves behind to be collected, or not. */
const IDLE_FOR_MS = { full: 10_000, short: 3_000 } as const;
const STARTS = 3;
const POLL_MS = 10;

export async function runIdleBench({ engine, short }: { engine: Engine; short: boolean }): Promise<Figure[]> {
  const folder = mkdtempSync(join(tmpdir(), 'pontage-bench-'));
  const postgres = engine === 'postgres' ? await startPostgres({ durable: true }) : null;
  try {
    const environment = {
      PATH: process.env.PATH,
      PONTAGE_DATA_DIR: folder,
      PONTAGE_SECRET_KEY: 'Vq3x9ZrT5mK8wY2nB7cD4fG6hJ1kL0pQ',
      PONTAGE_PUBLIC_URL: 'https://banks.example.com',
      PONTAGE_HOST: '127.0.0.1',
      PONTAGE_LOG_LEVEL: 'error',
      ...(postgres ? { DATABASE_URL: await freshDatabase(postgres.url) } : {}),
    };
    const readyMs: number[] = [];
    let idleMb = 0;
    for (let start = 0; start < STARTS; start += 1) {
      const idleForMs = start < STARTS - 1 ? 0 : IDLE_FOR_MS[short ? 'short' : 'full'];
      const seen = await oneStart(environment, idleForMs);
      readyMs.push(seen.readyMs);
      idleMb = seen.idleMb;
    }
    return [
      { name: `start to ready, worst of ${STARTS}, ${engine}`, value: Math.max(...readyMs), unit: 'ms', limit: { below: READY_BELOW_MS } },
      { name: `resident memory idle, ${engine}`, value: idleMb, unit: 'MB', limit: { below: IDLE_BELOW_MB } },
    ];
  } finally {
    await postgres?.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The first start makes the database, the others find it. */
async function oneStart(environment: NodeJS.ProcessEnv, idleForMs: number): Promise<{ readyMs: number; idleMb: number }> {
  const port = await freePort();
  const started = performance.now();
  const server = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', MAIN, 'serve'], {
    env: { ...environment, PONTAGE_PORT: String(port) },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const ended = once(server, 'exit');
  try {
    while (!(await isReady(port))) {
      if (server.exitCode !== null) throw new Error(`the server ended with ${server.exitCode}`);
      await pause(POLL_MS);
    }
    const readyMs = performance.now() - started;
    await pause(idleForMs);
    const kilobytes = Number(execFileSync('ps', ['-o', 'rss=', '-p', String(server.pid)], { encoding: 'utf8' }));
    return { readyMs, idleMb: kilobytes / 1_024 };
  } finally {
    server.kill('SIGTERM');
    await ended;
  }
}

function isReady(port: number): Promise<boolean> {
  return fetch(`http://127.0.0.1:${port}/readyz`).then(
    ({ ok }) => ok,
    () => false,
  );
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
