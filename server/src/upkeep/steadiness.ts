/**
 * Which time may be believed in what cannot be undone. A clock that is set a year ahead makes the whole log look old; only
 * time that passes tells whether it was wrong before or is wrong now. So age is counted from a reading of the clock that has
 * stood for an hour, and that reading outlives the process: a server that never runs for long goes by the one of a run before.
 */
import { type Clock, DAY_MS, HOUR_MS } from '../base/clock.ts';
import { sql } from '../storage/sql.ts';
import type { Storage } from '../storage/storage.ts';

/** A jump forward: more than this beyond what the monotonic clock has counted. Less deletes nothing much earlier than promised. */
export const JUMP_MIN_MS = HOUR_MS;
/**
 * A reading is believed when the clock has gone on from it for this long. A clock that synchronisation or a person has set
 * wrong is mostly noticed by then, and what is deleted an hour later is missed by nobody.
 */
export const STEADY_AFTER_MS = HOUR_MS;
/** Servers are seldom off for longer. What is closed by a clock this far ahead is kept for as much longer, and no more. */
export const AHEAD_MAX_MS = 30 * DAY_MS;

/** `believed` is the time that age is counted from: while a server runs, one to two hours behind `now`. Epoch milliseconds. */
export type Moment = { now: number; believed: number };

export type Look = {
  /** Null before any reading has stood for {@link STEADY_AFTER_MS}. */
  believed: number | null;
  /** Nothing speaks against the clock as it is now: it may be written where its being ahead would do no great harm. */
  plausible: boolean;
  /** How far it has jumped forward since the last look; null where it has not. */
  jumpedMs: number | null;
};

export type Steadiness = { look(): Promise<Look> };

/** `readAt` is the reading that is waited with. */
export type Readings = { readAt: number | null; believed: number | null };

/**
 * Pure. Over a restart only the clock itself tells how long a reading has stood: one that was wrong is believed if the clock
 * jumps once more before it is set right and no process sees that. One that is set back has been wrong, or is wrong now.
 */
export function judge({ readAt, believed }: Readings, now: number, jumped: boolean): Readings {
  if (readAt === null) return { readAt: now, believed };
  if (jumped || now < readAt - JUMP_MIN_MS) return { readAt: now, believed: believed === null ? null : Math.min(believed, now) };
  return now - readAt >= STEADY_AFTER_MS ? { readAt: now, believed: readAt } : { readAt, believed };
}

/** To be looked at by each round. The readings are those of all servers that share the database: one whose clock is ahead is set right by the others. */
export function createSteadiness(options: {
  storage: Pick<Storage, 'first' | 'alone'>;
  clock: Clock;
  monotonicMs: () => number;
}): Steadiness {
  const { storage, clock, monotonicMs } = options;
  /** Between the two clocks; followed, so that a clock that is only a little fast or slow never jumps. */
  let apartMs = clock.now() - monotonicMs();
  let jumpedTo: number | null = null;

  async function read(): Promise<Readings> {
    const row = await storage.first<{ read_at: number | null; believed_at: number | null }>(
      sql`select clock_read_at as read_at, clock_believed_at as believed_at from configuration`,
    );
    return { readAt: row?.read_at ?? null, believed: row?.believed_at ?? null };
  }

  return {
    async look() {
      const now = clock.now();
      const apartNowMs = now - monotonicMs();
      const jumpedMs = apartNowMs - apartMs;
      apartMs = apartNowMs;
      const jumped = jumpedMs > JUMP_MIN_MS;
      if (jumped) jumpedTo = now;
      const before = await read();
      const after = judge(before, now, jumped);
      if (after.readAt !== before.readAt) {
        await storage.alone.run(
          sql`update configuration set clock_read_at = ${after.readAt}, clock_believed_at = ${after.believed}
              where coalesce(clock_read_at, -1) = ${before.readAt ?? -1}`,
        );
      }
      const { believed } = after;
      if (jumpedTo !== null && believed !== null && (believed >= jumpedTo || now < jumpedTo)) jumpedTo = null;
      const plausible = believed !== null && jumpedTo === null && now - believed <= AHEAD_MAX_MS;
      return { believed, plausible, jumpedMs: jumped ? jumpedMs : null };
    },
  };
}
