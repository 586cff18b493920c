/** What time alone makes obsolete: removed every few minutes, by any node. Every step may run twice without harm. */
import { deleteExpiredSessions } from '../access/connect-sessions.ts';
import { deleteExpiredTokens } from '../access/tokens.ts';
import { type Clock, MINUTE_MS, SECOND_MS } from '../base/clock.ts';
import { startLoop } from '../base/loop.ts';
import { tellDead } from '../endpoints/dead.ts';
import { eraseExpiredCredentials } from '../items/items.ts';
import { sql } from '../storage/sql.ts';
import type { Storage } from '../storage/storage.ts';
import type { Log } from '../telemetry/log.ts';
import type { Vault } from '../vault/vault.ts';
import { deleteInBatches, type Turns } from './batches.ts';
import { forgetDeletedEndpoints } from './deleted-endpoints.ts';
import { resumeErasures } from './erasure.ts';
import { forgetHours, forgetRefreshes, forgetReplays } from './history.ts';
import { type RetentionServices, retireOldest } from './retention.ts';
import { keepSegments } from './segments.ts';
import { watchSilence } from './silence.ts';
import { createSteadiness, type Look, STEADY_AFTER_MS, type Steadiness } from './steadiness.ts';

/** What was given up is told once for each minute. */
const TELL_PAUSE_MS = MINUTE_MS;
/** Nobody sees when in these minutes something goes that is over; abandoned credentials are promised to within the hour. */
const PAUSE_MS = 5 * MINUTE_MS;
/** What can wait is begun when a start has done what cannot. */
const AFTER_START_MS = 30 * SECOND_MS;

/**
 * Between two pages of an audit or two deletions, of some 3 ms each: others wait for one at most, and have most of the
 * time. On SQLite that still deletes some 25,000 rows a second.
 */
const TURN_PAUSE_MS = 5;

export type Upkeep = { stop(): Promise<void> };
type UpkeepServices = { storage: Storage; clock: Clock; log: Log };
type LogServices = UpkeepServices & Pick<RetentionServices, 'retentionDays' | 'auditSegment'>;

export function startUpkeep(services: LogServices & { historyDays: number; vault: Pick<Vault, 'destroyKey'> }): Upkeep {
  let stopped = false;
  const every = (pauseMs: number, name: string, step: () => Promise<void>, afterMs = 0) => {
    let begun = afterMs === 0;
    return startLoop({
      onError: (error) => services.log.error({ error }, name),
      errorPauseMs: MINUTE_MS,
      step: async () => {
        if (begun) await step();
        const waitMs = begun ? pauseMs : afterMs;
        begun = true;
        return { pauseMs: waitMs };
      },
    });
  };
  const seldom = (name: string, step: () => Promise<void>) => every(PAUSE_MS, name, step, AFTER_START_MS);
  const pause = () => new Promise<void>((resolve) => setTimeout(resolve, TURN_PAUSE_MS));
  const turns = { pause, mayGoOn: () => !stopped };
  const steadiness = createSteadiness({ ...services, monotonicMs: () => performance.now() });
  const byAge = (step: (time: Time) => Promise<void>) => () => keepByAge({ ...services, steadiness }, step);
  let afterItem = 0;
  const keepHistory = async ({ believed: now }: Time) => {
    const keeping = { ...services, ...turns };
    const { deleted: refreshes, ...next } = await forgetRefreshes(keeping, afterItem, now);
    afterItem = next.afterItem;
    const replays = await forgetReplays(keeping, now);
    const hours = await forgetHours(keeping, now);
    if (refreshes + replays + hours > 0) services.log.info({ refreshes, replays, hours }, 'old records were taken away');
  };
  const forgetDeleted = async () => {
    const deliveries = await forgetDeletedEndpoints({ ...services, ...turns });
    if (deliveries > 0) services.log.info({ deliveries }, 'what waited for deleted webhooks was taken away');
  };
  const goOnErasing = async () => {
    const resumed = await resumeErasures({ ...services, now: services.clock.now() });
    if (resumed > 0) services.log.info({ resumed }, 'erasures that were broken off have been ended');
  };
  // Apart: what retention deletes may take minutes, and the rest must not wait for it.
  const loops = [
    every(TELL_PAUSE_MS, 'operational events', () => tellOperators(services)),
    every(PAUSE_MS, 'upkeep', () => forgetExpired({ ...services, ...turns })),
    seldom('deleted webhooks', forgetDeleted),
    seldom('broken off erasures', goOnErasing),
    seldom(
      'retention',
      byAge((time) => keepLog({ ...services, ...turns }, time)),
    ),
    seldom('history', byAge(keepHistory)),
  ];
  return {
    async stop() {
      stopped = true;
      await Promise.all(loops.map((loop) => loop.stop()));
    },
  };
}

/** `plausible`: the clock as it is now may be written, too. */
type Time = { believed: number; plausible: boolean };

/** One round of what deletes by age, by a time that may be believed; none before there is one. */
export async function keepByAge(
  { steadiness, log }: { steadiness: Steadiness; log: Log },
  step: (time: Time) => Promise<void>,
): Promise<void> {
  const { believed, plausible, jumpedMs }: Look = await steadiness.look();
  if (jumpedMs !== null) {
    const minutes = STEADY_AFTER_MS / MINUTE_MS;
    log.warn({ jumpedMs }, `the clock has jumped forward: nothing is old by it until it has gone on steadily for ${minutes} minutes`);
  }
  if (believed !== null) await step({ believed, plausible });
}

/**
 * One round for the log: the next segment when it is due, and the end of the oldest. No segment is closed by a clock that may be
 * far ahead: its end would stand in the future, and it would be kept until then.
 */
export async function keepLog(services: LogServices & Turns, { believed, plausible }: Time): Promise<void> {
  const { storage, clock, log } = services;
  const moment = { now: clock.now(), believed };
  const opened = plausible ? await keepSegments(storage, moment) : null;
  if (opened !== null) log.info({ segment: opened }, 'the log goes on in a new segment');
  const retired = await retireOldest(services, moment);
  if (retired.outcome !== 'retired') return;
  if (retired.unbalanced > 0) log.error(retired, 'the oldest segment of the log was taken away, and the audit of it does not balance');
  else log.info(retired, 'the oldest segment of the log was taken away');
}

/** One round: each kind alone, so that one that fails does not hold up the others' locks. */
export async function forgetExpired({ storage, clock, log, ...turns }: UpkeepServices & Turns): Promise<void> {
  const now = clock.now();
  const { deleted: erasedCredentials } = await deleteInBatches((limit) => eraseExpiredCredentials(storage, now, limit), turns);
  const { deleted: sessions } = await deleteInBatches((limit) => deleteExpiredSessions(storage.alone, now, limit), turns);
  const { deleted: tokens } = await deleteInBatches((limit) => deleteExpiredTokens(storage.alone, now, limit), turns);
  const secrets = await storage.alone.run(sql`delete from endpoint_secrets where expires_at <= ${now}`);
  if (erasedCredentials + sessions + tokens + secrets > 0) log.info({ erasedCredentials, sessions, tokens, secrets }, 'upkeep');
}

/** One round of the events about webhooks that only time brings. */
export async function tellOperators({ storage, clock, log }: UpkeepServices): Promise<void> {
  const now = clock.now();
  const dead = await tellDead(storage, now);
  const silent = await watchSilence(storage, now);
  if (dead + silent > 0) log.info({ dead, silent }, 'upkeep');
}
