/** Chance by a seed: the same seed gives the same bank on every machine. */
import { seeded } from '../test/support/random.ts';

export type Random = {
  /** A whole number from 0 up to, not including, `below`. */
  below: (below: number) => number;
  /** From `min` to `max`, both included. */
  between: (min: number, max: number) => number;
  chance: (share: number) => boolean;
  pick: <T>(values: readonly T[]) => T;
};

export function randomOf(seed: number): Random {
  const next = seeded(seed);
  const below = (limit: number) => Math.floor(next() * limit);
  return {
    below,
    between: (min, max) => min + below(max - min + 1),
    chance: (share) => next() < share,
    pick: (values) => values[below(values.length)]!,
  };
}
