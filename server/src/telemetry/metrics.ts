/** Metrics in the format of Prometheus. What can be counted where it happens is; the rest is asked for at each scrape. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

/** Seconds: from a receiver on the same machine to the deadline of an attempt, and to the longest retry. */
const ATTEMPT_BUCKETS_S = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
const COMMIT_BUCKETS_S = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 120, 600, 3_600, 21_600, 86_400, 259_200];
const REFRESH_BUCKETS_S = [0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 480];

export type AttemptSeen = {
  source: string;
  /** Null for a success. */
  failureClass: string | null;
  durationMs: number;
  /** From the event's commit to the receiver's answer; null but for the first success of a live event. */
  sinceCommitMs: number | null;
};

/** Read at each scrape. Endpoints by id. */
export type Standing = {
  lanes: number;
  queued: number;
  underWay: number;
  unflushed: number;
  /** Events of its application that each lagging endpoint has before it, counted to 10,000. */
  lag: ReadonlyMap<string, number>;
  parked: ReadonlyMap<string, number>;
  refreshesOpen: number;
  /** Since the process began. */
  statements: number;
};

/** The last audited hour, by endpoint. */
export type AuditSeen = { endpointId: string; matched: number; classes: Readonly<Record<string, number>> };

/** Of the whole log that is kept, by endpoint: as each hour was last looked at. `frozenHours` were unbalanced when retention took them. */
export type AuditFound = ReadonlyMap<string, { unbalancedHours: number; faults: number; frozenHours: number }>;

export type Metrics = {
  attempt(seen: AttemptSeen): void;
  refresh(seen: { status: number; durationMs: number }): void;
  audit(hours: readonly AuditSeen[], faults: number): void;
  auditFound(found: AuditFound): void;
  /** The whole log has been looked at, since `begunAt` (epoch milliseconds). */
  auditedAll(begunAt: number): void;
  /** The text of a scrape, and its content type. */
  expose(): Promise<{ text: string; contentType: string }>;
};

/** `standing` is asked at each scrape; what it cannot say then is left out of that scrape. */
export function createMetrics(standing: () => Promise<Standing>): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  const attempts = new Counter({
    name: 'pontage_delivery_attempts_total',
    help: 'Attempts to deliver an event, by source, outcome and class of failure',
    labelNames: ['source', 'outcome', 'failure'],
    registers,
  });
  const attemptSeconds = new Histogram({
    name: 'pontage_delivery_attempt_seconds',
    help: 'Duration of an attempt, from the lookup of the name to the last byte of the answer',
    labelNames: ['outcome'],
    buckets: ATTEMPT_BUCKETS_S,
    registers,
  });
  const commitSeconds = new Histogram({
    name: 'pontage_commit_to_receiver_seconds',
    help: 'From the commit of an event to the answer of the receiver that took it',
    buckets: COMMIT_BUCKETS_S,
    registers,
  });
  const refreshes = new Counter({
    name: 'pontage_refreshes_total',
    help: 'Refreshes that ended, by status of the item',
    labelNames: ['status'],
    registers,
  });
  const refreshSeconds = new Histogram({
    name: 'pontage_refresh_seconds',
    help: 'Duration of a refresh, with the time that the bank took',
    buckets: REFRESH_BUCKETS_S,
    registers,
  });
  const gauge = (name: string, help: string, labelNames: string[] = []) => new Gauge({ name, help, labelNames, registers });
  const lanes = gauge('pontage_lanes_owned', 'Lanes that this node delivers');
  const queued = gauge('pontage_deliveries_queued', 'Deliveries that wait in memory');
  const underWay = gauge('pontage_deliveries_under_way', 'Requests to receivers under way');
  const unflushed = gauge('pontage_results_unflushed', 'Outcomes that are not written yet');
  const lag = gauge('pontage_endpoint_lag_events', 'Events of its application that a lagging webhook has before it; counted to 10,000', [
    'webhook',
  ]);
  const parked = gauge('pontage_deliveries_parked', 'Deliveries that failed and wait, or were given up; counted to 100,000', ['state']);
  const open = gauge('pontage_refreshes_open', 'Refreshes asked for and not ended');
  const statements = new Counter({
    name: 'pontage_storage_statements_total',
    help: 'Statements given to the database, without those that only begin or end a transaction',
    registers,
  });
  const audited = gauge('pontage_audit_deliveries', 'Deliveries of the last whole hour that was audited, by what became of them', [
    'webhook',
    'class',
  ]);
  const faults = gauge('pontage_audit_faults', 'Deliveries of the last audit that are in no class, or in two: always 0');

  const unbalanced = gauge(
    'pontage_audit_unbalanced_hours',
    'Hours of the log in which deliveries are in no class, or in two, as each hour was last audited: always 0',
    ['webhook'],
  );
  const logFaults = gauge('pontage_audit_log_faults', 'Deliveries of these hours that are in no class, or in two: always 0', ['webhook']);
  const frozen = gauge(
    'pontage_audit_frozen_unbalanced_hours',
    'Hours that did not balance when retention took them, with all before: always 0',
    ['webhook'],
  );
  const auditedSince = gauge(
    'pontage_audit_log_seconds',
    'When the last audit of the whole log began, in seconds since 1970; 0 before its end',
  );

  async function ask(): Promise<void> {
    const now = await standing();
    lanes.set(now.lanes);
    queued.set(now.queued);
    underWay.set(now.underWay);
    unflushed.set(now.unflushed);
    open.set(now.refreshesOpen);
    statements.reset();
    statements.inc(now.statements);
    lag.reset();
    for (const [webhook, events] of now.lag) lag.set({ webhook }, events);
    parked.reset();
    for (const [state, deliveries] of now.parked) parked.set({ state }, deliveries);
  }

  return {
    attempt({ source, failureClass, durationMs, sinceCommitMs }) {
      const outcome = failureClass === null ? 'delivered' : 'failed';
      attempts.inc({ source, outcome, failure: failureClass ?? '' });
      attemptSeconds.observe({ outcome }, durationMs / 1_000);
      if (sinceCommitMs !== null) commitSeconds.observe(Math.max(0, sinceCommitMs) / 1_000);
    },
    refresh({ status, durationMs }) {
      refreshes.inc({ status: String(status) });
      refreshSeconds.observe(durationMs / 1_000);
    },
    audit(hours, faultCount) {
      audited.reset();
      for (const { endpointId: webhook, matched, classes } of hours) {
        audited.set({ webhook, class: 'matched' }, matched);
        for (const [name, deliveries] of Object.entries(classes)) audited.set({ webhook, class: name }, deliveries);
      }
      faults.set(faultCount);
    },
    auditFound(found) {
      for (const one of [unbalanced, logFaults, frozen]) one.reset();
      for (const [webhook, { unbalancedHours, faults: count, frozenHours }] of found) {
        unbalanced.set({ webhook }, unbalancedHours);
        logFaults.set({ webhook }, count);
        frozen.set({ webhook }, frozenHours);
      }
    },
    auditedAll(begunAt) {
      auditedSince.set(begunAt / 1_000);
    },
    async expose() {
      await ask().catch(() => {});
      return { text: await registry.metrics(), contentType: registry.contentType };
    },
  };
}
