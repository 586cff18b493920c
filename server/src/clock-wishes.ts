/**
 * The command line has no deliveries: it writes down how a test clock is to go, and a running server moves it. The raised
 * version of the configuration, which every heartbeat reads, tells the server; so it works beside any number of them.
 */
import { SECOND_MS } from './base/clock.ts';
import { randomId } from './base/random.ts';
import { REST_MAX_MS } from './delivery/rest.ts';
import { raiseConfiguration } from './endpoints/endpoints.ts';
import type { ClockMove, MovedClock } from './http/api/services.ts';
import type { RefreshServices } from './refresh/services.ts';
import type { ClockTarget } from './refresh/test-clock/test-clock.ts';
import { sql } from './storage/sql.ts';

/** A server that runs sees a wish within its heartbeat (1.2 s); a busy one gets some more. */
const TAKEN_WITHIN_MS = 5 * SECOND_MS;
const LOOK_AGAIN_MS = 50;
/** A server that moves the clock renews its hold at each step, and no step takes longer than its deliveries may. */
const SILENT_MAX_MS = 2 * REST_MAX_MS;

/** `no server`: nobody took it, and it is withdrawn. `server ended`: the clock stands where it was. `failed`: see the server's log. */
export type WishOutcome = MovedClock | { ok: false; refusal: 'no server' | 'server ended' | 'failed' };

type Database = Pick<RefreshServices, 'storage' | 'clock'>;

/** Asks a server to move the clock, and answers what came of it. The wish outlives who asked, once it is taken. */
export async function askServer(
  { storage, clock }: Database,
  applicationId: string,
  target: ClockTarget,
  takenWithinMs = TAKEN_WITHIN_MS,
): Promise<WishOutcome> {
  const id = randomId('wish');
  const [byMs, to] = 'to' in target ? [null, target.to] : [target.byMs, null];
  await storage.transaction(async (tx) => {
    await tx.run(sql`insert into clock_wishes (id, application_id, by_ms, to_at, asked_at)
                     values (${id}, ${applicationId}, ${byMs}, ${to}, ${clock.now()})`);
    await raiseConfiguration(tx);
  });
  const withdraw = () => storage.transaction((tx) => tx.run(sql`delete from clock_wishes where id = ${id} and taken_at is null`));
  const askedAt = performance.now();
  let movedAt = askedAt;
  let before = 0;
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
    const wish = await storage.first<{ taken_at: number | null; outcome: string | null; held: number }>(sql`
      select w.taken_at, w.outcome, a.clock_mover_until as held from clock_wishes w join applications a on a.id = w.application_id where w.id = ${id}`);
    if (!wish) return { ok: false, refusal: 'server ended' };
    const now = performance.now();
    if (wish.held !== before) {
      before = wish.held;
      movedAt = now;
    }
    if (wish.taken_at === null) {
      if (now - askedAt >= takenWithinMs && (await withdraw()) === 1) return { ok: false, refusal: 'no server' };
      continue;
    }
    if (wish.outcome === null && now - movedAt < SILENT_MAX_MS) continue;
    await storage.transaction((tx) => tx.run(sql`delete from clock_wishes where id = ${id}`));
    return wish.outcome === null ? { ok: false, refusal: 'server ended' } : (JSON.parse(wish.outcome) as WishOutcome);
  }
}

type WishRow = { id: string; application_id: string; by_ms: number | null; to_at: number | null };

/** Grants what was asked for and nobody has taken, one after the other. */
export async function grantWishes(
  { storage, clock, log }: Pick<RefreshServices, 'storage' | 'clock' | 'log'>,
  move: (applicationId: string, move: ClockMove) => Promise<MovedClock>,
): Promise<void> {
  for (;;) {
    // Read first: nearly every change of the configuration is something else, and costs no transaction.
    if (!(await storage.first(sql`select id from clock_wishes where taken_at is null limit 1`))) return;
    const wish = await storage.transaction((tx) =>
      tx.first<WishRow>(sql`
        update clock_wishes set taken_at = ${clock.now()} where id in (
          select id from clock_wishes where taken_at is null order by asked_at limit 1${storage.forUpdateSkipLocked}
        ) returning id, application_id, by_ms, to_at`),
    );
    if (!wish) return;
    const target = wish.to_at === null ? { byMs: wish.by_ms! } : { to: wish.to_at };
    const outcome = await move(wish.application_id, { target, deliveries: true }).catch((error: unknown): WishOutcome => {
      log.error({ error, application: wish.application_id }, 'a test clock could not be moved');
      return { ok: false, refusal: 'failed' };
    });
    await storage.transaction((tx) => tx.run(sql`update clock_wishes set outcome = ${JSON.stringify(outcome)} where id = ${wish.id}`));
  }
}
