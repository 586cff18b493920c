/** What the server says of its work: one wide line, one span and some counts for each attempt and each refresh. */
import { sameText } from './base/random.ts';
import { type Config, VERSION } from './config.ts';
import { startAuditRounds } from './delivery/audit/rounds.ts';
import type { Delivery } from './delivery/delivery.ts';
import { readGauges } from './delivery/gauges.ts';
import type { AttemptReport } from './delivery/reports.ts';
import { countOpenRefreshes } from './items/refreshes.ts';
import type { RefreshReport } from './refresh/services.ts';
import type { Services } from './services.ts';
import { createMetrics, type Metrics, type Standing } from './telemetry/metrics.ts';
import { noTraces, startTraces, type Traces } from './telemetry/traces.ts';

export type Observation = {
  onAttempt(report: AttemptReport): void;
  onRefreshed(report: RefreshReport): void;
  /** The scrape of whoever may, by a token or, where there is none, as somebody at this machine: a status, and a text. */
  scrape(caller: { authorization: string | undefined; local: boolean }): Promise<{ status: 200 | 404; text: string; contentType: string }>;
  stop(): Promise<void>;
};

/** `delivery` answers what runs; null before it does. */
export async function startObservation(config: Config, services: Services, delivery: () => Delivery | null): Promise<Observation> {
  const { storage, clock, log } = services;
  const traces = config.otlpEndpoint === null ? noTraces : await startTraces(config.otlpEndpoint, VERSION);
  const metrics = createMetrics(() => readStanding(services, delivery()));
  const audits = startAuditRounds({ storage, clock, log, metrics });
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
      await audits.stop();
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

async function readStanding({ storage }: Services, delivery: Delivery | null): Promise<Standing> {
  const [gauges, refreshesOpen] = await Promise.all([readGauges(storage), countOpenRefreshes(storage)]);
  const stats = delivery?.stats();
  return {
    ...gauges,
    lanes: stats?.lanes ?? 0,
    queued: stats?.queued ?? 0,
    underWay: stats?.underWay ?? 0,
    unflushed: stats?.unflushed ?? 0,
    refreshesOpen,
    statements: storage.counts.statements,
  };
}
