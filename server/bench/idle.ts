/** A server as its operator starts it: how soon it is ready, and what it holds in memory and asks while nothing happens. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { freshDatabase, startPostgres } from '../test/support/postgres.ts';
import type { Figure } from './figures.ts';

type Engine = 'sqlite' | 'postgres';

const LAUNCHER = fileURLToPath(new URL('../../bin/pontage.mjs', import.meta.url));
const METRICS_TOKEN = '0f1e2d3c4b5a69788796a5b4c3d2e1f0';
const READY_BELOW_MS = 2_000;
const IDLE_BELOW_MB = 120;
const STATEMENTS_PER_S_MAX = 1;
/** By then the server has taken its lanes and let go of what its start has left behind; later, what it put off at its start is done, too. */
const SETTLE_MS = { full: 40_000, short: 14_000 } as const;
/** A whole minute, so that what happens once a minute is in it. */
const IDLE_FOR_MS = { full: 60_000, short: 6_000 } as const;
/** The first start makes the database and compiles, the second has the last of it kept; the others are as all that follow. */
const STARTS = 3;
const POLL_MS = 10;
/** Looks in a row, to learn how much one of them adds itself: a heartbeat may fall between two, and not between all. */
const LOOKS = 4;

type Idle = { megabytes: number; statementsPerS: number };

export async function runIdleBench({ engine, short }: { engine: Engine; short: boolean }): Promise<Figure[]> {
  const folder = mkdtempSync(join(tmpdir(), 'pontage-bench-'));
  const postgres = engine === 'postgres' ? await startPostgres({ durable: true }) : null;
  try {
    const databaseUrl = postgres === null ? null : await freshDatabase(postgres.url);
    const environment = {
      PATH: process.env.PATH,
      PONTAGE_DATA_DIR: folder,
      PONTAGE_SECRET_KEY: 'Vq3x9ZrT5mK8wY2nB7cD4fG6hJ1kL0pQ',
      PONTAGE_PUBLIC_URL: 'https://banks.example.com',
      PONTAGE_HOST: '127.0.0.1',
      PONTAGE_LOG_LEVEL: 'error',
      PONTAGE_METRICS_TOKEN: METRICS_TOKEN,
      ...(databaseUrl === null ? {} : { DATABASE_URL: databaseUrl }),
    };
    const transactions = postgres === null ? null : await watchTransactions(postgres.url, databaseUrl!);
    const readyMs: number[] = [];
    let idle: Idle = { megabytes: Number.NaN, statementsPerS: Number.NaN };
    try {
      for (let start = 1; start <= STARTS; start += 1) {
        const running = await startServer(environment);
        readyMs.push(running.readyMs);
        try {
          if (start === STARTS)
            idle = await watchIdle(running, short ? 'short' : 'full', transactions?.count ?? (() => scrapeStatements(running.port)));
        } finally {
          await running.stop();
        }
      }
    } finally {
      await transactions?.close();
    }
    return [
      { name: `start to ready, worst of ${STARTS}, ${engine}`, value: Math.max(...readyMs), unit: 'ms', limit: { below: READY_BELOW_MS } },
      { name: `resident memory idle, ${engine}`, value: idle.megabytes, unit: 'MB', limit: { below: IDLE_BELOW_MB } },
      { name: `statements idle, ${engine}`, value: idle.statementsPerS, unit: '/s', limit: { atMost: STATEMENTS_PER_S_MAX } },
    ];
  } finally {
    await postgres?.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

type Running = { port: number; readyMs: number; residentMegabytes(): number; stop(): Promise<void> };

async function startServer(environment: NodeJS.ProcessEnv): Promise<Running> {
  const port = await freePort();
  const started = performance.now();
  const launcher = spawn(process.execPath, [LAUNCHER, 'serve'], {
    env: { ...environment, PONTAGE_PORT: String(port) },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const ended = once(launcher, 'exit');
  while (!(await isReady(port))) {
    if (launcher.exitCode !== null) throw new Error(`the server ended with ${launcher.exitCode}`);
    await pause(POLL_MS);
  }
  return {
    port,
    readyMs: performance.now() - started,
    residentMegabytes: () => residentKilobytesOfChild(launcher.pid!) / 1_024,
    async stop() {
      launcher.kill('SIGTERM');
      await ended;
    },
  };
}

/** `count`: statements so far. */
async function watchIdle(running: Running, mode: 'full' | 'short', count: () => Promise<number>): Promise<Idle> {
  await pause(SETTLE_MS[mode]);
  const looks: number[] = [];
  for (let look = 0; look < LOOKS; look += 1) looks.push(await count());
  const ofOneLook = Math.min(...looks.slice(1).map((counted, index) => counted - looks[index]!));
  const from = performance.now();
  await pause(IDLE_FOR_MS[mode]);
  const seconds = (performance.now() - from) / 1_000;
  const megabytes = running.residentMegabytes();
  const statements = (await count()) - looks.at(-1)! - ofOneLook;
  return { megabytes, statementsPerS: statements / seconds };
}

/** SQLite keeps no count: what the server says of itself. */
async function scrapeStatements(port: number): Promise<number> {
  const response = await fetch(`http://127.0.0.1:${port}/metrics`, { headers: { authorization: `Bearer ${METRICS_TOKEN}` } });
  const count = /^pontage_storage_statements_total (\d+)$/m.exec(await response.text())?.[1];
  if (count === undefined) throw new Error('the metrics do not say how many statements there were');
  return Number(count);
}

/**
 * What PostgreSQL itself has counted: transactions, which an idle server's statements are each. Asked from another
 * database, so that the question is not among them; without the database's own housekeeping, which would be.
 */
async function watchTransactions(
  serverUrl: string,
  databaseUrl: string,
): Promise<{ count: () => Promise<number>; close: () => Promise<void> }> {
  const client = new pg.Client({ connectionString: serverUrl });
  await client.connect();
  await client.query('alter system set autovacuum = off');
  await client.query('select pg_reload_conf()');
  const name = new URL(databaseUrl).pathname.slice(1);
  return {
    async count() {
      const { rows } = await client.query<{ transactions: string }>(
        'select xact_commit + xact_rollback as transactions from pg_stat_database where datname = $1',
        [name],
      );
      return Number(rows[0]!.transactions);
    },
    close: () => client.end(),
  };
}

/** The launcher has one child, which is the server. */
function residentKilobytesOfChild(parent: number): number {
  const processes = execFileSync('ps', ['-A', '-o', 'ppid=,rss='], { encoding: 'utf8' }).split('\n');
  const children = processes.map((line) => line.trim().split(/\s+/).map(Number)).filter(([ppid]) => ppid === parent);
  if (children.length !== 1) throw new Error(`the launcher has ${children.length} children in place of one server`);
  return children[0]![1]!;
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
