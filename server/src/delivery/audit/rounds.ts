/** A server audits itself: the last whole hour as soon as it can be told, and every hour that the log has again and again. */
import { type Clock, HOUR_MS, MINUTE_MS } from '../../base/clock.ts';
import { startLoop } from '../../base/loop.ts';
import type { Storage } from '../../storage/storage.ts';
import type { Log } from '../../telemetry/log.ts';
import type { Metrics } from '../../telemetry/metrics.ts';
import { auditByTurns, type Turn } from './audit.ts';
import { CLASSES } from './classes.ts';
import { createFindings, type Findings } from './findings.ts';

/** An hour is audited when what was committed at its end has had time to be delivered. */
const AUDIT_AFTER_MS = 10 * MINUTE_MS;
/** Between two pages of the audit of an hour (200 events, some 3 ms of the main thread on SQLite): a million events take two minutes. */
const HOUR_AUDIT_PAUSE_MS = 20;
/** The same for the audit of the whole log, which has no haste: a day of a million events an hour takes less than two hours of it. */
const LOG_AUDIT_PAUSE_MS = 50;
/** Between two audits of the whole log. */
const LOG_AUDIT_EVERY_MS = HOUR_MS;

export type AuditRounds = { stop(): Promise<void> };

type Options = { storage: Storage; clock: Clock; log: Log; metrics: Pick<Metrics, 'audit' | 'auditFound' | 'auditedAll'> };

export function startAuditRounds(options: Options): AuditRounds {
  let stopped = false;
  const turnAfter =
    (pauseMs: number): Turn =>
    async () => {
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
      return !stopped;
    };
  const loop = (step: () => Promise<number>) =>
    startLoop({
      onError: (error) => options.log.error({ error }, 'audit'),
      errorPauseMs: AUDIT_AFTER_MS,
      step: async () => ({ pauseMs: await step() }),
    });
  const findings = createFindings(options.storage);
  const loops = [
    loop(() => auditHour(options, turnAfter(HOUR_AUDIT_PAUSE_MS))),
    loop(() => auditLog(options, findings, turnAfter(LOG_AUDIT_PAUSE_MS))),
  ];
  return {
    async stop() {
      stopped = true;
      await Promise.all(loops.map((one) => one.stop()));
    },
  };
}

/** Audits the last whole hour, and answers how long to wait for the next. */
async function auditHour({ storage, clock, log, metrics }: Options, turn: Turn): Promise<number> {
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
async function auditLog({ clock, log, metrics }: Options, findings: Findings, turn: Turn): Promise<number> {
  const begunAt = clock.now();
  const whole = await findings.look(turn, () => metrics.auditFound(findings.byEndpoint));
  if (!whole) return 0;
  metrics.auditedAll(begunAt);
  for (const [webhook, { unbalancedHours, faults }] of findings.byEndpoint)
    if (faults > 0) log.error({ webhook, hours: unbalancedHours, count: faults }, 'the audit of the log does not balance');
  return LOG_AUDIT_EVERY_MS;
}
