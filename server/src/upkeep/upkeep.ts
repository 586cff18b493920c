/** What time alone makes obsolete: removed once a minute, by any node. Every step may run twice without harm. */
import { deleteExpiredSessions } from '../access/connect_sessions.ts';
import { deleteExpiredTokens } from '../access/tokens.ts';
import { type Clock, MINUTE_MS } from '../base/clock.ts';
import { startLoop } from '../base/loop.ts';
import { tellDead } from '../endpoints/dead.ts';
import { eraseExpiredCredentials } from '../items/items.ts';
import { sql } from '../storage/sql.ts';
import type { Storage } from '../storage/storage.ts';
import type { Log } from '../telemetry/log.ts';

/** Fine enough for the promise of the longest wait, an hour for abandoned credentials. */
const PAUSE_MS = MINUTE_MS;

export type Upkeep = { stop(): Promise<void> };
type UpkeepServices = { storage: Storage; clock: Clock; log: Log };

export function startUpkeep(services: UpkeepServices): Upkeep {
  const loop = startLoop({
    onError: (error) => services.log.error({ error }, 'upkeep'),
    errorPauseMs: PAUSE_MS,
    step: async () => {
      await tidy(services);
      return { pauseMs: PAUSE_MS };
    },
  });
  return { stop: () => loop.stop() };
}

/** One round: each kind in a transaction of its own, so that one that fails does not hold up the others' locks. */
export async function tidy({ storage, clock, log }: UpkeepServices): Promise<void> {
  const now = clock.now();
  const erasedCredentials = await storage.transaction((tx) => eraseExpiredCredentials(tx, now));
  const sessions = await storage.transaction((tx) => deleteExpiredSessions(tx, now));
  const tokens = await storage.transaction((tx) => deleteExpiredTokens(tx, now));
  const secrets = await storage.transaction((tx) => tx.run(sql`delete from endpoint_secrets where expires_at <= ${now}`));
  const dead = await tellDead(storage, now);
  if (erasedCredentials + sessions + tokens + secrets + dead > 0)
    log.info({ erasedCredentials, sessions, tokens, secrets, dead }, 'upkeep');
}
