/** A few random moments of the story in the suite; `npm run crash` plays a hundred and more. */
import { test } from 'node:test';
import { ENGINES } from '../support/engines.ts';
import { seeded } from '../support/random.ts';
import { playRefreshStory } from './refresh-story.ts';

const KILLS = 3;

for (const engine of ENGINES) {
  test(`${KILLS} kills at random moments lose nothing on ${engine}`, { timeout: 200_000 }, async (t) => {
    const { events, repeats } = await playRefreshStory(engine, KILLS, seeded(20_260_302));
    t.diagnostic(`${engine}: ${events} events, ${KILLS} kills, ${repeats} repeats`);
  });
}
