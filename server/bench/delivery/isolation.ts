/**
 * 90 healthy endpoints alone, and the same beside 10 that hang, 10 that answer 500 and 10 that answer 429: two databases
 * with the same load, run by turns, each turn a delivery of its own. The figure is the median of the pairs' ratios. A pair
 * changes sides every few seconds: this kind of machine is now fast, now slow, and both sides should see the same of it. For a
 * side of a pair stands the middle one of its turns: where the machine itself stands still for some 40 ms, all that is sent
 * meanwhile is beyond the p99 of that turn, and would be of all turns together.
 */
import type { TestPostgres } from '../../test/support/postgres.ts';
import { type Figure, median, quantile } from '../figures.ts';
import { commitAndWake, latencies, openLoop } from './latency.ts';
import { addApplication, addEndpoint, deliver, draft, type Engine, openPlace, type Place, pause } from './place.ts';
import { type Receivers, startReceivers } from './receivers.ts';

const APPLICATIONS = 30;
const HEALTHY_PER_APPLICATION = 3;
/** As a refresh of three accounts makes them. */
const EVENTS_PER_COMMIT = 4;
/** Of what the machine can deliver, so that neither side is measured at its limit. */
const LOAD_SHARE = 0.3;
const GROWTH_LIMIT = 1.1;
/** A difference below this is noise of the machine. */
const NOISE_MS = 1;

/**
 * `settlingSeconds`: of each side, before all turns: the circuits of bad receivers open, and they fall behind, as they are for
 * nearly all of the time of an outage. How it begins is a figure of its own, without pairs: it happens once. `warmUpSeconds`: of
 * each turn, not measured: connections are opened and code is compiled.
 */
export type IsolationSize = {
  settlingSeconds: number;
  pairs: number;
  turnsEach: number;
  warmUpSeconds: number;
  secondsOfTurn: number;
};

export type Isolation = { figures: Figure[]; aloneP99: number; besideP99: number; growth: number };

export async function measureIsolation(
  engine: Engine,
  server: TestPostgres | null,
  capacityPerS: number,
  size: IsolationSize,
): Promise<Isolation> {
  const receivers = await startReceivers({ timed: true });
  const alone = await openPlace(engine, server);
  const beside = await openPlace(engine, server);
  try {
    await furnish(alone, receivers, false);
    await furnish(beside, receivers, true);
    // Each event is for three healthy endpoints and a bad one.
    const ratePerS = Math.round((capacityPerS * LOAD_SHARE) / (HEALTHY_PER_APPLICATION + 1));
    const turn = (place: Place, warmUpSeconds: number, seconds: number) =>
      healthyLatencies(place, receivers, { ratePerS, warmUpSeconds, seconds });
    const onset = (place: Place) => turn(place, size.warmUpSeconds, size.settlingSeconds);
    const [atOnsetAlone, atOnset] = [quantile(await onset(alone), 0.99), quantile(await onset(beside), 0.99)];
    const pairs: { alone: number; beside: number }[] = [];
    for (let pair = 0; pair < size.pairs; pair += 1) {
      const p99s = new Map<Place, number[]>([
        [alone, []],
        [beside, []],
      ]);
      for (let each = 0; each < size.turnsEach; each += 1) {
        // Each side is first every other time: the second turn finds a warmer machine.
        for (const place of (pair + each) % 2 === 0 ? [alone, beside] : [beside, alone])
          p99s.get(place)!.push(quantile(await turn(place, size.warmUpSeconds, size.secondsOfTurn), 0.99));
      }
      pairs.push({ alone: median(p99s.get(alone)!), beside: median(p99s.get(beside)!) });
    }
    const aloneP99 = median(pairs.map((pair) => pair.alone));
    const besideP99 = median(pairs.map((pair) => pair.beside));
    const ratio = median(pairs.map((pair) => pair.beside / pair.alone));
    const growth = median(pairs.map((pair) => pair.beside - pair.alone)) < NOISE_MS ? Math.min(ratio, 1) : ratio;
    const name = `healthy endpoints' p99 beside 30 bad ones over alone, ${ratePerS} events/s, ${engine}`;
    const figures: Figure[] = [
      { name, value: besideP99, unit: 'ms', peer: aloneP99, ratio: growth, limit: { below: GROWTH_LIMIT } },
      { name: `the same while the outage begins, ${engine}`, value: atOnset, unit: 'ms', peer: atOnsetAlone },
    ];
    return { figures, aloneP99, besideP99, growth };
  } finally {
    await receivers.stop();
    await alone.close();
    await beside.close();
  }
}

const applicationOf = (number: number) => `app_${(number % APPLICATIONS) + 1}`;

async function furnish(place: Place, { origin }: Receivers, withBad: boolean): Promise<void> {
  for (let number = 0; number < APPLICATIONS; number += 1) {
    const id = applicationOf(number);
    await addApplication(place.storage, id);
    for (let healthy = 0; healthy < HEALTHY_PER_APPLICATION; healthy += 1)
      await addEndpoint(place, `${origin}/ok/${number}/${healthy}`, id);
    if (withBad) await addEndpoint(place, `${origin}/${['hang', '500', '429'][number % 3]}/${number}`, id);
  }
}

async function healthyLatencies(
  place: Place,
  receivers: Receivers,
  { ratePerS, warmUpSeconds, seconds }: { ratePerS: number; warmUpSeconds: number; seconds: number },
): Promise<number[]> {
  const running = deliver(place);
  await running.tick();
  const commitsPerS = ratePerS / EVENTS_PER_COMMIT;
  const count = Math.floor(commitsPerS * seconds);
  const commit = (number: number) => {
    const applicationId = applicationOf(number);
    return commitAndWake(place, running, draft(number, applicationId), { events: EVENTS_PER_COMMIT, applicationId });
  };
  await openLoop({ commitsPerS, count: Math.floor(commitsPerS * warmUpSeconds), commit });
  const committed = await openLoop({ commitsPerS, count, commit });
  const arrivals = [];
  const expected = count * EVENTS_PER_COMMIT * HEALTHY_PER_APPLICATION;
  for (;;) {
    arrivals.push(...(await receivers.report()).filter(({ path, id }) => path.startsWith('ok/') && committed.has(id)));
    if (arrivals.length >= expected) break;
    await pause(20);
  }
  await running.stop(0);
  return latencies(committed, arrivals);
}
