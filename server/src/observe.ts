/** What the server says of its work: one wide line, one span and some counts for each attempt and each refresh. */
import { HOUR_MS, MINUTE_MS } from './base/clock.ts';
import { startLoop } from './base/loop.ts';
import { sameText } from './base/random.ts';
import { type Config, VERSION } from './config.ts';
import { auditByTurns, type Turn } from './delivery/audit/audit.ts';
import { CLASSES } from './delivery/audit/classes.ts';
import { createFindings, type Findings } from './delivery/audit/findings.ts';
import type { Delivery } from './delivery/delivery.ts';
import type { AttemptReport } from './delivery/reports.ts';
import type { RefreshReport } from './refresh/run.ts';
import type { Services } from './services.ts';
import { sql } from './storage/sql.ts';
import { createMetrics, type Metrics, type Standing } from './telemetry/metrics.ts';
import { noTraces, startTraces, type Traces } from './telemetry/traces.ts';

/** An hour is audited when what was committed at its end has had time to be delivered. */
const AUDIT_AFTER_MS = 10 * MINUTE_MS;
/** Between two pages of the audit of an hour (200 events, some 3 ms of the main thread on SQLite): a million events take two minutes. */
const HOUR_AUDIT_PAUSE_MS = 20;
/** The same for the audit of the whole log, which has no haste: a day of a million events an hour takes less than two hours of it. */
const LOG_AUDIT_PAUSE_MS = 50;
/** Between two audits of the whole log. */
const LOG_AUDIT_EVERY_MS = HOUR_MS;
/** Of each kind: counting on would hold SQLite's thread for as long as it takes to read a table of millions. */
const PARKED_COUNTED_MAX = 100_000;

export type Observation = {
  onAttempt(report: AttemptReport): void;
  onRefreshed(report: RefreshReport): void;
  /** The scrape of whoever may, by a token or, where there is none, as somebody at this machine: a status, and a text. */
  scrape(caller: { authorization: string | undefined; local: boolean }): Promise<{ status: 200 | 404; text: string; contentType: string }>;
  stop(): Promise<void>;
};

/** `delivery` answers what runs; null before it does. */
export async function startObservation(config: Config, services: Services, delivery: () => Delivery | null): Promise<Observation> {
  const { log } = services;
  const traces = config.otlpEndpoint === null ? noTraces : await startTraces(config.otlpEndpoint, VERSION);
  const metrics = createMetrics(() => standingOf(services, delivery()));
  let stopped = false;
  const turnAfter =
    (pauseMs: number): Turn =>
    async () => {
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
      return !stopped;
    };
  const loop = (step: () => Promise<number>) =>
    startLoop({
      onError: (error) => log.error({ error }, 'audit'),
      errorPauseMs: AUDIT_AFTER_MS,
      step: async () => ({ pauseMs: await step() }),
    });
  const findings = createFindings(services.storage);
  const audits = [
    loop(() => auditWhenDue(services, metrics, turnAfter(HOUR_AUDIT_PAUSE_MS))),
    loop(() => auditAll(services, metrics, findings, turnAfter(LOG_AUDIT_PAUSE_MS))),
  ];
  return {
    onAttempt(report) {
      observeAttempt(report, services, metrics, traces);
    },
    onRefreshed(report) {
      metrics.refresh({ status: report.status, durationMs: report.durationMs });
      traces.record({
        name: 'refresh',
        kind: 'internal',
        traceparent: report.traceparent,
        parent: null,
        startedAt: report.endedAt - report.durationMs,
        endedAt: report.endedAt,
        attributes: {
          'pontage.refresh': report.refreshId,
          'pontage.item': report.itemId,
          'pontage.bank': report.bankId,
          'pontage.cause': report.cause,
          'pontage.status': report.status,
        },
        error: report.status === 0 ? null : `status ${report.status}`,
      });
    },
    async scrape({ authorization, local }) {
      const expected = config.metricsToken === null ? null : `Bearer ${config.metricsToken}`;
      const allowed = expected === null ? config.mode === 'development' && local : sameText(authorization ?? '', expected);
      if (!allowed) return { status: 404, text: 'Not found\n', contentType: 'text/plain' };
      return { status: 200, ...(await metrics.expose()) };
    },
    async stop() {
      stopped = true;
      await Promise.all(audits.map((one) => one.stop()));
      await traces.stop();
    },
  };
}

function observeAttempt(report: AttemptReport, { log }: Services, metrics: Metrics, traces: Traces): void {
  const { failure, at, durationMs, committedAt, source } = report;
  const first = failure === null && source === 'live' && report.n === 1;
  metrics.attempt({
    source,
    failureClass: failure?.class ?? null,
    durationMs,
    sinceCommitMs: first ? at + durationMs - committedAt : null,
  });
  // Successes are thousands a second: they are lines only for those who ask for them.
  const write = failure === null ? log.debug : log.info;
  write.call(
    log,
    {
      event: report.eventId,
      type: report.type,
      webhook: report.endpointId,
      source,
      n: report.n,
      status: report.status,
      failure: failure?.class ?? null,
      next: report.next,
      took_ms: Math.round(durationMs * 10) / 10,
      since_commit_ms: Math.round(at + durationMs - committedAt),
      ...(report.traceparent === null ? {} : { trace: report.traceparent.slice(3, 35) }),
    },
    'attempt',
  );
  if (report.traceparent === null) return;
  traces.record({
    name: 'deliver webhook',
    kind: 'client',
    traceparent: report.traceparent,
    parent: report.parent,
    startedAt: at,
    endedAt: at + durationMs,
    attributes: {
      'pontage.event': report.eventId,
      'pontage.event_type': report.type,
      'pontage.webhook': report.endpointId,
      'pontage.attempt': report.n,
      ...(report.status === null ? {} : { 'http.response.status_code': report.status }),
    },
    error: failure?.class ?? null,
  });
}

async function standingOf({ storage }: Services, delivery: Delivery | null): Promise<Standing> {
  const [lag, parked, open] = await Promise.all([
    storage.all<{ endpoint_id: string; behind: number }>(
      sql`select p.endpoint_id, sum(h.head - p.settled) as behind from endpoint_positions p join lane_heads h on h.lane = p.lane group by p.endpoint_id`,
    ),
    storage.all<{ state: string; deliveries: number }>(
      sql`select state, count(*) as deliveries
          from (select state from parked where state <> 'dead' limit ${PARKED_COUNTED_MAX}) as open group by state
          union all
          select 'dead' as state, count(*) as deliveries
          from (select 1 as one from parked where state = 'dead' limit ${PARKED_COUNTED_MAX}) as dead having count(*) > 0`,
    ),
    storage.first<{ refreshes: number }>(sql`select count(*) as refreshes from refreshes where finished_at is null`),
  ]);
  const stats = delivery?.stats();
  return {
    lanes: stats?.lanes ?? 0,
    queued: stats?.queued ?? 0,
    underWay: stats?.underWay ?? 0,
    unflushed: stats?.unflushed ?? 0,
    lag: new Map(lag.map(({ endpoint_id, behind }) => [endpoint_id, Number(behind)])),
    parked: new Map(parked.map(({ state, deliveries }) => [state, deliveries])),
    refreshesOpen: open?.refreshes ?? 0,
    statements: storage.counts.statements,
  };
}

/** Audits the last whole hour, and answers how long to wait for the next. */
async function auditWhenDue({ storage, clock, log }: Services, metrics: Metrics, turn: Turn): Promise<number> {
  const now = clock.now();
  const hour = Math.floor((now - AUDIT_AFTER_MS) / HOUR_MS);
  const from = (hour - 1) * HOUR_MS;
  const found = await auditByTurns(storage, { from, until: from + HOUR_MS }, turn);
  if (!found) return 0;
  const { hours, faults, faultCount, balanced } = found;
  metrics.audit(
    hours.map((row) => ({
      endpointId: row.endpointId,
      matched: row.matched,
      classes: Object.fromEntries(CLASSES.map((name) => [name, row[name]])),
    })),
    faultCount,
  );
  if (!balanced) log.error({ faults: faults.slice(0, 5), count: faultCount }, 'the audit does not balance: npx pontage audit says more');
  return Math.max(0, (hour + 1) * HOUR_MS + AUDIT_AFTER_MS - clock.now());
}

/** Audits every hour that is kept, however old, and answers how long to wait before all of them are looked at again. */
async function auditAll({ clock, log }: Services, metrics: Metrics, findings: Findings, turn: Turn): Promise<number> {
  const begunAt = clock.now();
  const whole = await findings.look(turn, () => metrics.auditFound(findings.byEndpoint));
  if (!whole) return 0;
  metrics.auditedAll(begunAt);
  for (const [webhook, { unbalancedHours, faults }] of findings.byEndpoint)
    if (faults > 0) log.error({ webhook, hours: unbalancedHours, count: faults }, 'the audit of the log does not balance');
  return LOG_AUDIT_EVERY_MS;
}
