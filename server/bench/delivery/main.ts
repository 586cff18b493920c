/**
 * `npm run bench:delivery`: every figure of delivery beside its limit or its peer of the same run, on both engines.
 * `--short` takes about a minute: smaller sizes, and no idle server, which `npm run bench` has. `--json FILE` writes the main
 * figures, `--engine sqlite|postgres` runs one.
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { type Figure, printFigures } from '../figures.ts';
import { runIdleBench } from '../idle.ts';
import { measureDeadEndpoint } from './dead.ts';
import { measureHistory } from './history.ts';
import { measureIsolation } from './isolation.ts';
import { measureLatency } from './latency.ts';
import { type Engine, openPlace, startServerOf } from './place.ts';
import { measureThroughput } from './throughput.ts';

const SIZES = {
  full: {
    throughput: { rounds: 5, deliveries: 30_000 },
    latencySeconds: { 50: 20, 200: 20, 2000: 10 },
    isolation: { settlingSeconds: 6, pairs: 5, turnsEach: 5, warmUpSeconds: 1, secondsOfTurn: 2 },
    deadEvents: 1_000_000,
    history: { histories: [1_000_000, 10_000_000], endpoints: [10, 10_000], rounds: 5, deliveries: 5_000 },
  },
  short: {
    throughput: { rounds: 2, deliveries: 3_000 },
    latencySeconds: { 50: 0.4, 200: 1.5, 2000: 0.8 },
    isolation: { settlingSeconds: 0.6, pairs: 2, turnsEach: 1, warmUpSeconds: 0.3, secondsOfTurn: 0.5 },
    deadEvents: 1_000,
    history: { histories: [20_000], endpoints: [], rounds: 2, deliveries: 1_000 },
  },
} as const;

const { values: flags } = parseArgs({
  options: { short: { type: 'boolean', default: false }, json: { type: 'string' }, engine: { type: 'string' } },
});
const size = flags.short ? SIZES.short : SIZES.full;
const engines = (['sqlite', 'postgres'] as const).filter((engine) => flags.engine === undefined || flags.engine === engine);
if (engines.length === 0) throw new Error(`--engine is sqlite or postgres, not ${flags.engine}`);

const report: Record<string, Record<string, number>> = {};
for (const engine of engines) {
  console.log(`\n${engine}${flags.short ? ', short' : ''}`);
  const { figures, main } = await measure(engine);
  printFigures(figures);
  report[engine] = main;
}
if (flags.json !== undefined) writeFileSync(flags.json, `${JSON.stringify(report, null, 2)}\n`);

async function measure(engine: Engine): Promise<{ figures: Figure[]; main: Record<string, number> }> {
  const server = await startServerOf(engine);
  try {
    const fresh = async <T>(work: (place: Awaited<ReturnType<typeof openPlace>>) => Promise<T>): Promise<T> => {
      const place = await openPlace(engine, server);
      try {
        return await work(place);
      } finally {
        await place.close();
      }
    };
    const throughput = await fresh((place) => measureThroughput(place, size.throughput));
    const latency = await fresh((place) => measureLatency(place, size.latencySeconds));
    const isolation = await measureIsolation(engine, server, throughput.durablePerSecond, size.isolation);
    const dead = await fresh((place) => measureDeadEndpoint(place, size.deadEvents));
    const history = await measureHistory(engine, server, size.history);
    const idle = flags.short ? null : await idleFigures(engine);
    return {
      figures: [
        ...throughput.figures,
        ...latency.figures,
        ...isolation.figures,
        ...dead.figures,
        ...history.figures,
        ...(idle === null ? [] : [idle.memory, idle.statements]),
      ],
      main: {
        raw_per_s: throughput.rawPerSecond,
        durable_per_s: throughput.durablePerSecond,
        durable_over_raw: throughput.durablePerSecond / throughput.rawPerSecond,
        cpu_us_per_delivery: throughput.cpuUs,
        p50_ms_at_200: latency.p50At200,
        p99_ms_at_200: latency.p99At200,
        p99_ms_at_2000: latency.p99At2000,
        healthy_p99_ms_alone: isolation.aloneP99,
        healthy_p99_ms_beside: isolation.besideP99,
        healthy_p99_growth: isolation.growth,
        dead_endpoint_events: size.deadEvents,
        dead_endpoint_rows: dead.rows,
        restart_ms: dead.restartMs,
        drain_per_s: dead.drainPerSecond,
        bytes_per_event: dead.bytesPerEvent,
        cost_growth_events: size.history.histories.at(-1)!,
        cost_growth_10m: history.growth,
        ...(idle === null ? {} : { idle_mb: idle.memory.value, idle_statements_per_s: idle.statements.value }),
      },
    };
  } finally {
    await server?.stop();
  }
}

async function idleFigures(engine: Engine): Promise<{ memory: Figure; statements: Figure }> {
  const [, memory, statements] = await runIdleBench({ engine, short: false });
  return { memory: memory!, statements: statements! };
}
