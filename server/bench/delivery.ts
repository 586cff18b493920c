/** The figures of delivery that `npm run bench` shows; `npm run bench:delivery` shows all of them. */
import { measureLatency } from './delivery/latency.ts';
import { type Engine, openPlace, startServerOf } from './delivery/place.ts';
import { measureThroughput } from './delivery/throughput.ts';
import type { Figure } from './figures.ts';

export type { Figure } from './figures.ts';

const SIZES = {
  full: { throughput: { rounds: 5, deliveries: 30_000 }, latencySeconds: { 50: 5, 200: 15, 2000: 5 } },
  short: { throughput: { rounds: 3, deliveries: 5_000 }, latencySeconds: { 50: 1, 200: 3, 2000: 1 } },
} as const;

export async function runDeliveryBench(options: { engine: Engine; short: boolean }): Promise<Figure[]> {
  const size = options.short ? SIZES.short : SIZES.full;
  const server = await startServerOf(options.engine);
  const place = await openPlace(options.engine, server);
  try {
    const throughput = await measureThroughput(place, size.throughput);
    const latency = await measureLatency(place, size.latencySeconds);
    return [...throughput.figures, ...latency.figures];
  } finally {
    await place.close();
    await server?.stop();
  }
}
