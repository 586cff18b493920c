/**
 * Durable deliveries per second beside a bare undici loop that sends the same bytes, headers and signatures to the same
 * receiver and stores nothing, run by turns; and where the processor's time of one delivery goes.
 */
import { Session } from 'node:inspector/promises';
import { deleteEndpoint } from '../../src/endpoints/endpoints.ts';
import { type Figure, median } from '../figures.ts';
import { bareLoop } from './bare.ts';
import { addEndpoint, append, deliver, type Place } from './place.ts';
import { startReceivers } from './receivers.ts';

const RATIO_LIMIT = { sqlite: 0.6, postgres: 0.5 } as const;
const WARM_UP = 4_000;
const ENDPOINTS = [1, 5] as const;

export type Throughput = { figures: Figure[]; rawPerSecond: number; durablePerSecond: number; cpuUs: number };

/** `deliveries` of one round, whatever the number of endpoints. */
export async function measureThroughput(place: Place, size: { rounds: number; deliveries: number }): Promise<Throughput> {
  const { engine } = place;
  const receivers = await startReceivers({ timed: false });
  const target = `${receivers.origin}/webhooks`;
  const bare: number[] = [];
  const ours = new Map<number, number[]>(ENDPOINTS.map((count) => [count, []]));
  try {
    await bareLoop(target, 'whsec_AAAA', WARM_UP);
    for (let round = 0; round < size.rounds; round += 1) {
      for (const endpoints of ENDPOINTS) {
        const made = await Promise.all(Array.from({ length: endpoints }, () => addEndpoint(place, target)));
        if (endpoints === 1) bare.push(await bareLoop(target, made[0]!.secret, size.deliveries));
        await append(place.storage, 0, Math.floor(size.deliveries / endpoints));
        ours.get(endpoints)!.push((await durable(place, Math.floor(size.deliveries / endpoints) * endpoints)).perSecond);
        for (const { id } of made) await deleteEndpoint({ ...place, now: Date.now() }, id);
      }
    }
    const endpoint = await addEndpoint(place, target);
    await append(place.storage, 0, size.deliveries);
    const profiled = await profile(() => durable(place, size.deliveries));
    await deleteEndpoint({ ...place, now: Date.now() }, endpoint.id);
    const peer = median(bare);
    const figures = ENDPOINTS.map((count): Figure => {
      const value = median(ours.get(count)!);
      const limit = { atLeast: RATIO_LIMIT[engine] };
      return {
        name: `durable deliveries, ${count} endpoint${count > 1 ? 's' : ''} per event, ${engine}`,
        value,
        unit: '/s',
        peer,
        ratio: value / peer,
        limit,
      };
    });
    const cpuUs = profiled.result.cpuUs;
    figures.push({ name: `processor time per delivery, ${engine}`, value: cpuUs, unit: 'µs' });
    for (const [part, share] of profiled.shares) figures.push({ name: `  of it in ${part}, ${engine}`, value: cpuUs * share, unit: 'µs' });
    return { figures, rawPerSecond: peer, durablePerSecond: figures[0]!.value, cpuUs };
  } finally {
    await receivers.stop();
  }
}

/** From the start of delivery until the last one is committed; `cpuUs` is of this process, for one delivery. */
async function durable(place: Place, count: number): Promise<{ perSecond: number; cpuUs: number }> {
  const started = performance.now();
  const before = process.cpuUsage();
  let running: ReturnType<typeof deliver> | undefined;
  await new Promise<void>((resolve, reject) => {
    let seen = 0;
    running = deliver(place, {
      onAttempt: (report) => {
        if (report.failure) reject(new Error(report.failure.message));
        seen += 1;
        if (seen === count) resolve();
      },
    });
  });
  const perSecond = (count / (performance.now() - started)) * 1_000;
  const { user, system } = process.cpuUsage(before);
  await running?.stop();
  return { perSecond, cpuUs: (user + system) / count };
}

type Shares = [part: string, share: number][];

/** Self time of the main thread by the part of the program it was in, without idling. */
async function profile<T>(work: () => Promise<T>): Promise<{ result: T; shares: Shares }> {
  const session = new Session();
  session.connect();
  await session.post('Profiler.enable');
  await session.post('Profiler.start');
  const result = await work();
  const { profile: taken } = await session.post('Profiler.stop');
  session.disconnect();
  const nodes = new Map(taken.nodes.map((node) => [node.id, node]));
  const times = new Map<string, number>();
  let total = 0;
  taken.samples?.forEach((id, index) => {
    const node = nodes.get(id)!;
    const part = partOf(node.callFrame.url, node.callFrame.functionName);
    if (part === null) return;
    const us = taken.timeDeltas?.[index] ?? 0;
    total += us;
    times.set(part, (times.get(part) ?? 0) + us);
  });
  const shares = [...times].map(([part, us]): [string, number] => [part, us / total]).sort((a, b) => b[1] - a[1]);
  return { result, shares };
}

function partOf(url: string, functionName: string): string | null {
  if (functionName === '(idle)' || functionName === '(root)') return null;
  if (functionName === '(garbage collector)') return 'collecting garbage';
  if (url.includes('/undici/')) return 'the HTTP client';
  if (url.includes('/src/storage/') || url.includes('/pg') || url.startsWith('node:sqlite')) return 'storage';
  if (url.includes('/signing.ts') || url.startsWith('node:internal/crypto') || functionName === 'update') return 'signatures';
  if (url.includes('/src/')) return 'matching, queues and settling';
  return "Node's sockets, timers and native code";
}
