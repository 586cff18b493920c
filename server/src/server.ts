/** One node: the HTTP server and the loops beside it, started in order and stopped in order. */

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createAdaptorServer } from '@hono/node-server';
import { getConnInfo } from '@hono/node-server/conninfo';
import { type Context, Hono } from 'hono';
import { createConnectSession } from './access/connect-sessions.ts';
import { moveClock } from './advance.ts';
import type { Loop } from './base/loop.ts';
import { randomId } from './base/random.ts';
import { createClientAddress } from './client-address.ts';
import { grantWishes } from './clock-wishes.ts';
import { type Config, OperatorError, serverLockFile, VERSION } from './config.ts';
import { makeDataFolder } from './database.ts';
import { auditSegment } from './delivery/audit/audit.ts';
import { type Delivery, startDelivery } from './delivery/delivery.ts';
import { resolveBySystem } from './endpoints/lookups.ts';
import { type Arrivals, createArrivals } from './events/arrivals.ts';
import { createApi } from './http/api/app.ts';
import type { ClockMove } from './http/api/services.ts';
import { createConnect } from './http/connect/connect.ts';
import { strangerTo } from './http/edge/this-machine.ts';
import { staticAssets } from './http/static/static.ts';
import { createV2 } from './http/v2/app.ts';
import { holdItem } from './items/items.ts';
import { nextWork } from './items/refreshes.ts';
import { type Observation, startObservation } from './observe.ts';
import { refreshItem } from './refresh/connection.ts';
import { type RefreshWorker, startRefreshWorker } from './refresh/worker.ts';
import { openServices, type Services } from './services.ts';
import { sql } from './storage/sql.ts';
import { lockFile } from './storage/sqlite.ts';
import { eraseItem, eraseUser } from './upkeep/erasure.ts';
import { nextErasure, startScrubbing } from './upkeep/scrub.ts';
import { startUpkeep } from './upkeep/upkeep.ts';
import { holdUser } from './users/users.ts';

/** Stopping takes at most this long in all; what is then under way is broken off, and done again by the next start. */
const STOP_MAX_MS = 9_500;
/**
 * Reverse proxies and clients keep an idle connection for a minute and send the next request on it. Who closes first must be they:
 * a connection that we close under a request is a 502 for nobody's fault, and Node's own 5 s do that all day.
 */
const IDLE_CONNECTION_MS = 75_000;
const FINISH_REQUESTS_MS = 3_000;
const FINISH_REFRESHES_MS = 3_000;
const DRAIN_DELIVERIES_MS = 3_000;

export type RunningServer = {
  /** The address that was listened on, with a name of this machine. */
  localUrl: string;
  publicUrl: string;
  services: Services;
  /** Resolves when everything has ended, within 10 s. */
  stop(): Promise<void>;
};

/** What a mode adds to the server: mounted before it listens, closed when it stops. */
export type Extension = { mount(app: Hono): void; close(): void };
export type ServerOptions = {
  demoBankLatencyMs?: number;
  /** Called when the address is known and before anything is answered. */
  extend?: (server: Omit<RunningServer, 'stop'>) => Promise<Extension>;
};

/** Throws {@link OperatorError} where the server cannot start. */
export async function startServer(config: Config, options: ServerOptions = {}): Promise<RunningServer> {
  const node = claimNode(config);
  let delivery: Delivery | null = null;
  const app = new Hono();
  let complete = false;
  // Routes cannot be added to an application that has answered once, so until all are there nothing reaches it.
  const http = createAdaptorServer({
    fetch: (request, env) =>
      complete ? app.fetch(request, env) : new Response('Starting\n', { status: 503, headers: { 'retry-after': '1' } }),
  }) as Server;
  http.keepAliveTimeout = IDLE_CONNECTION_MS;
  let opened: Services | null = null;
  let observation: Observation | null = null;
  try {
    // Of this process: a node that is started again has its id, and nothing of what it was at.
    const life = randomId('life');
    const services = await openServices(config, 'always', {
      claimant: life,
      onEvents: () => delivery?.wake(),
      onRefreshed: (report) => observation?.onRefreshed(report),
      ...(options.demoBankLatencyMs === undefined ? {} : { demoBankLatencyMs: options.demoBankLatencyMs }),
    });
    opened = services;
    const { storage, vault, clock, policy, log } = services;
    const localUrl = await listen(http, config);
    const publicUrl = config.publicUrl ?? localUrl;
    const extension = (await options.extend?.({ localUrl, publicUrl, services })) ?? null;
    const watching = await startObservation(config, services, () => delivery);
    observation = watching;
    const moving = new AbortController();
    const worker = startRefreshWorker(services);
    const scrubbing = startScrubbing({ ...services, onErased: (itemIds) => delivery?.forgetItems(itemIds) });
    delivery = startDelivery({
      ...{ storage, vault, clock, policy, version: VERSION, log, nodeId: node.id, life, onAttempt: watching.onAttempt },
      onConfiguration: granting(services, () => delivery!, moving.signal),
      passengers: [
        { moment: nextWork, seen: worker.tell },
        { moment: nextErasure, seen: scrubbing.tell },
      ],
    });
    const upkeep = startUpkeep({
      ...services,
      retentionDays: config.retentionDays,
      historyDays: config.historyDays,
      auditSegment: (segment, ends, turn) => auditSegment(storage, segment, ends, turn),
    });
    const arrivals = createArrivals({ reader: storage });
    const state = { stopping: false };

    mountHealth(app, services, delivery, state);
    app.get('/metrics', async (c) => {
      const { status, text, contentType } = await watching.scrape({
        authorization: c.req.header('authorization'),
        local: strangerTo(c) === null,
      });
      return c.text(text, status, { 'content-type': contentType, 'cache-control': 'no-store' });
    });
    mountPublic(app, config, services, { worker, delivery, arrivals, scrubbing }, publicUrl);
    extension?.mount(app);
    mountRest(app, services);
    complete = true;
    log.info({ url: localUrl, publicUrl, engine: storage.engine, version: VERSION }, 'ready');

    let stopped: Promise<void> | null = null;
    const stop = async () => {
      state.stopping = true;
      moving.abort(new Error('the server stops'));
      const running = delivery!;
      const parts = async () => {
        const worked = Promise.all([worker.stop(FINISH_REFRESHES_MS), upkeep.stop(), scrubbing.stop(), watching.stop()]);
        // The inbox is a receiver of our own: while it is there, it must answer until the deliveries are drained.
        if (extension) await worked.then(() => running.stop(DRAIN_DELIVERIES_MS));
        extension?.close();
        arrivals.close();
        await Promise.all([worked, closeHttp(http)]);
        if (!extension) await running.stop(DRAIN_DELIVERIES_MS);
      };
      const inTime = await within(parts(), STOP_MAX_MS);
      if (!inTime) log.warn({}, 'stopped before everything had ended; the rest is done again at the next start');
      await within(storage.close(), 400);
      node.release();
      log.info({}, 'stopped');
    };
    return { localUrl, publicUrl, services, stop: () => (stopped ??= stop()) };
  } catch (error) {
    http.close();
    http.closeAllConnections();
    await delivery?.stop(0);
    await observation?.stop();
    await opened?.storage.close().catch(() => {});
    node.release();
    throw error;
  }
}

/** What the command line asks of a test clock together with deliveries, which it has none of itself. */
function granting(services: Services, delivery: () => Delivery, signal: AbortSignal): () => void {
  const move = (id: string, wanted: ClockMove) => moveClock({ services, delivery: delivery() }, id, wanted, signal);
  return () => void grantWishes(services, move).catch((error) => services.log.error({ error }, 'a test clock could not be moved'));
}

/**
 * SQLite has one server, held by a lock of the operating system. On PostgreSQL the lock only decides whose the id kept
 * in the data folder is, with which a node has its lanes back at once after a restart.
 */
function claimNode(config: Config): { id: string; release(): void } {
  makeDataFolder(config);
  const lock = lockFile(serverLockFile(config));
  if (!lock && config.databaseUrl === null) {
    throw new OperatorError(
      `Another server is running on ${config.dataDir}: stop it, or give this one a folder of its own with PONTAGE_DATA_DIR (or a PostgreSQL database with DATABASE_URL, which several servers share).`,
    );
  }
  if (!lock) return { id: randomId('node'), release() {} };
  const file = join(config.dataDir, 'node.id');
  const id = existsSync(file) ? readFileSync(file, 'utf8').trim() : randomId('node');
  writeFileSync(file, `${id}\n`, { mode: 0o600 });
  return { id, release: () => lock.release() };
}

async function listen(http: Server, config: Config): Promise<string> {
  await new Promise<void>((resolve, reject) => {
    http.once('error', (error: NodeJS.ErrnoException) => reject(new OperatorError(listenFault(error, config))));
    http.listen({ port: config.port, host: config.host }, resolve);
  });
  const { port } = http.address() as AddressInfo;
  const host =
    config.host === '0.0.0.0' ? '127.0.0.1' : config.host === '::' ? '[::1]' : config.host.includes(':') ? `[${config.host}]` : config.host;
  return `http://${host}:${port}`;
}

function listenFault(error: NodeJS.ErrnoException, { host, port }: Config): string {
  switch (error.code) {
    case 'EADDRINUSE':
      return `Port ${port} of ${host} is in use: stop what uses it, or choose another with PONTAGE_PORT (0 takes any free one).`;
    case 'EACCES':
      return `Port ${port} may not be listened on: choose one above 1023 with PONTAGE_PORT.`;
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
      return `PONTAGE_HOST ${host} is no address of this machine: use 127.0.0.1, or 0.0.0.0 for all.`;
    default:
      return `Listening on ${host}:${port} failed: ${error.message}`;
  }
}

/** `/healthz`: the process answers. `/readyz`: the database answers, lanes are leased, and nothing is stopping. */
function mountHealth(app: Hono, { storage }: Services, delivery: Delivery, state: { stopping: boolean }): void {
  app.get('/healthz', (c) => c.json({ status: 'ok' }));
  app.get('/readyz', async (c) => {
    const unready = (reason: string) => c.json({ status: 'unavailable', reason }, 503, { 'retry-after': '1' });
    if (state.stopping) return unready('stopping');
    const answers = await storage.first(sql`select one from configuration`).then(
      (row) => row !== undefined,
      () => false,
    );
    if (!answers) return unready('database');
    // Where several nodes share the lanes, one that has none yet is ready all the same.
    if (!storage.shared && delivery.stats().lanes === 0) return unready('lanes');
    return c.json({ status: 'ready' });
  });
}

function mountPublic(
  app: Hono,
  config: Config,
  services: Services,
  running: { worker: RefreshWorker; delivery: Delivery; arrivals: Arrivals; scrubbing: Loop },
  publicUrl: string,
): void {
  const { worker, delivery, arrivals, scrubbing } = running;
  const { storage, vault, clock, registry, log } = services;
  const addressOf = createClientAddress(config.trustedProxies);
  const edge = {
    publicUrl,
    documentationUrl: null,
    clientAddress: (c: Context) => addressOf(getConnInfo(c).remote.address ?? '', c.req.header('x-forwarded-for')),
    reportFailure: (error: unknown) => log.error({ error }, 'request failed'),
  };
  app.route('/static', staticAssets());
  app.route(
    '/connect',
    createConnect({
      ...services,
      banks: (environment) => registry.banks(environment, { countries: [], capabilities: [] }),
      publicUrl,
      onRefreshRequested: () => worker.wake(),
    }),
  );
  app.route(
    '/',
    createApi({
      ...services,
      arrivals,
      ...edge,
      resolve: resolveBySystem,
      onRefreshRequested: () => worker.wake(),
      moveClock: (id, move, signal) => moveClock({ services, delivery }, id, move, signal),
    }),
  );
  app.route(
    '/',
    createV2({
      storage,
      clock,
      registry,
      ...edge,
      async createConnectSession({ application, ...request }) {
        const session = { applicationId: application.id, ...request };
        const token = await storage.transaction(async (tx) => {
          const itemThere = session.itemId === undefined || (await holdItem(tx, storage, session.itemId));
          const there = itemThere && (await holdUser(tx, storage, session.applicationId, session.userUuid));
          return there ? createConnectSession(tx, session, clock.now()) : null;
        });
        return token === null ? null : { url: `${publicUrl}/connect/session/${token}` };
      },
      async requestRefresh(itemId, cause) {
        const asked = await refreshItem(services, itemId, cause);
        worker.wake();
        return asked;
      },
      deleteItem: (itemId) => eraseItem({ storage, vault, now: clock.now() }, itemId).finally(() => scrubbing.wake()),
      deleteUser: (userUuid) => eraseUser({ storage, vault, now: clock.now() }, userUuid).finally(() => scrubbing.wake()),
    }),
  );
}

/** What nothing else answers: one plain line, and on a failure not a word of it. */
function mountRest(app: Hono, { log }: Services): void {
  app.notFound((c) => c.text('Not found\n', 404, { 'x-content-type-options': 'nosniff' }));
  app.onError((error, c) => {
    log.error({ error, path: c.req.path }, 'request failed');
    return c.text('Something went wrong on our side\n', 500, { 'x-content-type-options': 'nosniff' });
  });
}

async function closeHttp(http: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => http.close(() => resolve()));
  http.closeIdleConnections();
  // Connections that were busy close when they become idle; Node sweeps them only at their next request.
  const sweep = setInterval(() => http.closeIdleConnections(), 100);
  await within(closed, FINISH_REQUESTS_MS);
  clearInterval(sweep);
  http.closeAllConnections();
}

/** Whether it ended in time. What fails has ended too. */
async function within(work: Promise<unknown>, limitMs: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), limitMs);
  });
  const inTime = await Promise.race([
    work.then(
      () => true as const,
      () => true as const,
    ),
    late,
  ]);
  clearTimeout(timer);
  return inTime;
}
