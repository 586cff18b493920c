/** Refreshes in `npm run bench`: their rates and statements; all of their figures are those of `npm run bench:refresh`. */
import type { Figure } from './figures.ts';
import { type Engine, openPlace } from './refresh/place.ts';
import { measureRates, USUAL } from './refresh/rates.ts';

const SIZES = { full: { items: 400, rounds: 5, idleRounds: 3 }, short: { items: 100, rounds: 3, idleRounds: 2 } } as const;

export async function runRefreshBench({ engine, short }: { engine: Engine; short: boolean }): Promise<Figure[]> {
  const place = await openPlace(engine);
  try {
    return await measureRates(engine, place.storage, USUAL, short ? SIZES.short : SIZES.full);
  } finally {
    await place.close();
  }
}
