/**
 * Whether the wall clock may be believed in what cannot be undone. A clock that is set a year ahead makes the whole log look
 * old; only time that passes tells whether it was wrong before or is wrong now.
 */
import { type Clock, HOUR_MS } from '../base/clock.ts';

/** A jump forward: more than this beyond what the monotonic clock has counted. Less deletes nothing much earlier than promised. */
export const JUMP_MIN_MS = HOUR_MS;
/**
 * The wall clock is believed when it has gone on with the monotonic one for this long. A clock that synchronisation or a
 * person has set wrong is mostly noticed by then, and what is deleted an hour later is missed by nobody.
 */
export const STEADY_AFTER_MS = HOUR_MS;

export type Look = {
  /** It has gone on steadily for {@link STEADY_AFTER_MS}. */
  steady: boolean;
  /** How far it has jumped forward since the last look; null where it has not. */
  jumpedMs: number | null;
};

export type Steadiness = { look(): Look };

/** To be looked at by each round. A start is as good as a jump: nobody knows what the clock did before. */
export function createSteadiness({ clock, monotonicMs }: { clock: Clock; monotonicMs: () => number }): Steadiness {
  let since = monotonicMs();
  /** Between the two clocks; followed, so that a clock that is only a little fast or slow never jumps. */
  let apartMs = clock.now() - since;
  return {
    look() {
      const monotonic = monotonicMs();
      const apartNowMs = clock.now() - monotonic;
      const jumpedMs = apartNowMs - apartMs;
      apartMs = apartNowMs;
      const jumped = jumpedMs > JUMP_MIN_MS;
      if (jumped) since = monotonic;
      return { steady: monotonic - since >= STEADY_AFTER_MS, jumpedMs: jumped ? jumpedMs : null };
    },
  };
}
