/** Chance without randomness: the same words always draw the same numbers. */
import { hash } from 'node:crypto';

export type Draws = {
  /** A number from 0 up to, not including, 1. */
  fraction(): number;
  /** An integer, both ends included. */
  between(lowest: number, highest: number): number;
  pick<T>(choices: readonly T[]): T;
};

/**
 * 32-bit arithmetic rather than a digest: a refresh draws some ten thousand times, and SHA-256 was a third of its cost.
 * Nothing secret hangs on these numbers.
 */
export function drawsFor(...words: readonly (string | number)[]): Draws {
  let state = 0;
  for (const word of words) {
    const text = String(word);
    for (let index = 0; index < text.length; index += 1) state = Math.imul(state ^ text.charCodeAt(index), 0x01000193);
    state = scramble(state + 0x7c1d);
  }
  const fraction = () => {
    state = (state + 0x6d2b79f5) | 0;
    return (scramble(state) >>> 0) / 0x1_0000_0000;
  };
  return {
    fraction,
    between: (lowest, highest) => lowest + Math.floor(fraction() * (highest - lowest + 1)),
    pick: (choices) => choices[Math.floor(fraction() * choices.length)]!,
  };
}

/** Spreads a change of any bit over all 32. */
function scramble(value: number): number {
  let mixed = value;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}

/** A short name that nobody could confuse with another: hexadecimal, `length` digits (at most 64). */
export function nameFor(length: number, ...words: readonly (string | number)[]): string {
  return hash('sha256', words.join('|')).slice(0, length);
}
