/**
 * From commit to receiver. Open loop: commits are begun by the clock and never wait for one another. A stall of the whole
 * process delays commits too and would hide in that figure, so the time since the moment a commit was due stands beside it.
 */
import { deleteEndpoint } from '../../src/endpoints/endpoints.ts';
import { type Figure, quantile } from '../figures.ts';
import { bareSender } from './bare.ts';
import { APPLICATION, addEndpoint, type BenchDraft, deliver, draft, type Place, pause } from './place.ts';
import { type Arrival, type Receivers, startReceivers } from './receivers.ts';

export const RATES_PER_S = [50, 200, 2_000] as const;
/** A refresh of three accounts makes four events in one commit; slower rates have one, which is the worse case. */
const EVENTS_PER_COMMIT = { 50: 1, 200: 1, 2000: 4 } as const;
const P99_LIMIT_MS = { sqlite: { 200: 10, 2000: 25 }, postgres: { 200: 15, 2000: 40 } } as const;

/** At the fastest rate: compiled code and open connections are a running server's state, its first second is not. */
const WARM_UP = { commitsPerS: 500, count: 500, events: 4 } as const;
const BARE_SECRET = 'whsec_AAAA';

export type Latency = { figures: Figure[]; p50At200: number; p99At200: number; p99At2000: number };

export async function measureLatency(place: Place, seconds: Readonly<Record<(typeof RATES_PER_S)[number], number>>): Promise<Latency> {
  const { engine } = place;
  const receivers = await startReceivers({ timed: true });
  const endpoint = await addEndpoint(place, `${receivers.origin}/webhooks`);
  const running = deliver(place);
  const figures: Figure[] = [];
  const at = new Map<number, { p50: number; p99: number }>();
  try {
    await running.tick();
    await openLoop({ ...WARM_UP, commit: (number) => commitAndWake(place, running, draft(number), WARM_UP) });
    while (running.stats().delivered < WARM_UP.count * WARM_UP.events) await pause(10);
    await receivers.report();
    for (const ratePerS of RATES_PER_S) {
      const count = ratePerS * seconds[ratePerS];
      const before = running.stats().delivered;
      const events = EVENTS_PER_COMMIT[ratePerS];
      const committed = await openLoop({
        commitsPerS: ratePerS / events,
        count: count / events,
        commit: (number) => commitAndWake(place, running, draft(number), { events }),
      });
      while (running.stats().delivered - before < count) await pause(10);
      const arrivals = await receivers.report();
      const bare = await bareTimes(receivers, { ratePerS, events, count });
      const times = latencies(committed, arrivals);
      const sinceDue = latencies(committed, arrivals, 'dueNs');
      if (times.length !== count) throw new Error(`${times.length} of ${count} events arrived once`);
      at.set(ratePerS, { p50: quantile(times, 0.5), p99: quantile(times, 0.99) });
      const limits: Partial<Record<number, number>> = P99_LIMIT_MS[engine];
      const limit = limits[ratePerS];
      const name = (share: string) => `commit to receiver, ${share}, ${ratePerS}/s, ${engine}`;
      const figure = (share: number): Figure => {
        const [value, peer] = [quantile(times, share), quantile(bare, share)];
        return { name: name(`p${100 * share}`), value, unit: 'ms', peer };
      };
      figures.push(figure(0.5), { ...figure(0.99), ...(limit === undefined ? {} : { limit: { below: limit } }) }, figure(0.999), {
        name: name('p99 since the commit was due'),
        value: quantile(sinceDue, 0.99),
        unit: 'ms',
      });
    }
  } finally {
    await receivers.stop();
    await running.stop();
    await deleteEndpoint({ ...place, now: Date.now() }, endpoint.id);
  }
  return { figures, p50At200: at.get(200)!.p50, p99At200: at.get(200)!.p99, p99At2000: at.get(2_000)!.p99 };
}

/** The same requests at the same rate by {@link bareSender}: what the machine itself takes from their creation to the receiver. */
async function bareTimes(receivers: Receivers, load: { ratePerS: number; events: number; count: number }): Promise<number[]> {
  const sender = bareSender(`${receivers.origin}/webhooks`, BARE_SECRET);
  const answers: Promise<void>[] = [];
  const made = await openLoop({
    commitsPerS: load.ratePerS / load.events,
    count: load.count / load.events,
    commit: async (number) => {
      const committedNs = process.hrtime.bigint();
      const sent = Array.from({ length: load.events }, (_, index) => sender.send(number * load.events + index));
      answers.push(...sent.map(({ answered }) => answered));
      return { ids: sent.map(({ id }) => id), committedNs };
    },
  });
  await Promise.all(answers);
  await sender.close();
  return latencies(made, await receivers.report());
}

/** By event id: when it was committed, and when it should have been begun. */
export type Committed = Map<string, { committedNs: bigint; dueNs: bigint }>;

export async function commitAndWake(
  place: Pick<Place, 'commits'>,
  running: ReturnType<typeof deliver>,
  event: BenchDraft,
  options: { events?: number; applicationId?: string } = {},
): Promise<{ ids: string[]; committedNs: bigint }> {
  const { events: count = 1, applicationId = APPLICATION } = options;
  const { lane, ids } = await place.commits.commit({ userUuid: event.userUuid, rows: count, applicationId, event, count });
  const committedNs = process.hrtime.bigint();
  running.wake([lane]);
  return { ids, committedNs };
}

/** Begins `count` commits at the rate, whether or not earlier ones have ended; answers when all have. */
export async function openLoop(options: {
  commitsPerS: number;
  count: number;
  commit: (number: number) => Promise<{ ids: string[]; committedNs: bigint }>;
}): Promise<Committed> {
  const { commitsPerS, count, commit } = options;
  const committed: Committed = new Map();
  const commits: Promise<void>[] = [];
  const startedNs = process.hrtime.bigint();
  const dueOf = (number: number) => startedNs + BigInt(Math.round((number * 1e9) / commitsPerS));
  const begin = async (number: number) => {
    const { ids, committedNs } = await commit(number);
    for (const id of ids) committed.set(id, { committedNs, dueNs: dueOf(number) });
  };
  while (commits.length < count) {
    const nowNs = process.hrtime.bigint();
    while (commits.length < count && dueOf(commits.length) <= nowNs) commits.push(begin(commits.length));
    await pause(1);
  }
  await Promise.all(commits);
  return committed;
}

/** Milliseconds, ascending, of the arrivals whose commit is known; since the commit, or since it was due. */
export function latencies(committed: Committed, arrivals: readonly Arrival[], since: 'committedNs' | 'dueNs' = 'committedNs'): number[] {
  return arrivals
    .flatMap(({ id, atNs }) => {
      const from = committed.get(id);
      return from === undefined ? [] : [Number(atNs - from[since]) / 1e6];
    })
    .sort((a, b) => a - b);
}
