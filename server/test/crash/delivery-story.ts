/**
 * One story: events go on being committed while servers are killed, frozen, and robbed of their database at random
 * moments. At its end everything must be delivered, in order, and the books must balance.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readConfig } from '../../src/config.ts';
import { audit } from '../../src/delivery/audit/audit.ts';
import { LANES, readLane } from '../../src/events/log.ts';
import { openServices, type Services } from '../../src/services.ts';
import { sql } from '../../src/storage/sql.ts';
import type { Engine } from '../support/engines.ts';
import { freshDatabase, startPostgres, type TestPostgres } from '../support/postgres.ts';
import { furnish, startLoad } from './load.ts';
import { type Node, startNode } from './nodes.ts';
import { PATHS, type Path, type Receiver, startReceiver } from './receiver.ts';
import { excessOf, faultsOf, judge, type Told, type Verdict } from './verdict.ts';

export type StoryOptions = {
  engine: Engine;
  moments: number;
  /** Of the moments, those in which one of two nodes is frozen beyond its lease (PostgreSQL). Each takes some 8 s. */
  freezes: number;
  /** Whether a receiver is down for stretches, long enough to open its circuit. */
  outages: boolean;
  random: () => number;
  onMoment: (done: number) => void;
};

export type StoryResult = {
  events: number;
  deliveries: number;
  kills: number;
  databaseCrashes: number;
  freezes: number;
  verdicts: Record<Path, Verdict>;
  /** What must not be: losses, disorder, imbalance, wrong signatures, more repeats than can have been in flight. */
  faults: string[];
};

/** From before a server's first step until it is well at work. */
const LATEST_TROUBLE_MS = 600;
/** Each fifth comes while the server starts. */
const DURING_START_EVERY = 5;
const DATABASE_SHARE = 0.2;
/** A lease is stale after 6 s without renewal. */
const FREEZE_MS = { least: 6_500, most: 8_500 };
const OUTAGE_EVERY_MOMENTS = 12;
/** A machine under load, and the longest pause between two probes of a circuit that was opened; ends as soon as all is settled. */
const QUIET_WITHIN_MS = 240_000;
const SECRET_KEY = 'Vq3x9ZrT5mK8wY2nB7cD4fG6hJ1kL0pQ';

type Environment = Record<string, string>;
type Tally = Pick<StoryResult, 'kills' | 'databaseCrashes' | 'freezes'>;

export async function playStory(options: StoryOptions): Promise<StoryResult> {
  const { engine, random } = options;
  const folder = mkdtempSync(join(tmpdir(), 'pontage-crash-'));
  // A server of our own, because the story ends it; without waiting for the disk a crash of the process alone loses nothing.
  const postgres = engine === 'postgres' ? await startPostgres({ durable: true }) : null;
  const databaseUrl = postgres ? await freshDatabase(postgres.url) : null;
  const environments = (postgres ? ['one', 'two'] : ['one']).map((name) => environmentOf(join(folder, name), databaseUrl));
  const receiver = await startReceiver(random);
  const nodes: Node[] = [];
  try {
    const services = await openBeside(environments[0]!);
    const applicationId = await furnish(services, receiver);
    for (const environment of environments) nodes.push(startNode(environment));
    await Promise.all(nodes.map(({ ready }) => ready));
    const load = startLoad(services, applicationId, random);
    const tally = await makeTrouble(options, nodes, environments, postgres, receiver);
    await load.stop();
    receiver.down = false;
    await quiet(services);
    const faults: string[] = [];
    for (const node of nodes) if ((await node.stop()) !== 0) faults.push('a server did not stop in order');
    const events = await allEvents(services);
    const verdicts = Object.fromEntries(
      PATHS.map((path) => [path, judge(events, receiver.receipts[path], path !== 'slow')]),
    ) as StoryResult['verdicts'];
    const books = await audit(services.storage, { from: 0 });
    if (!books.balanced) faults.push(`the audit does not balance: ${JSON.stringify(books.faults.slice(0, 5))}`);
    const audited = books.hours.reduce((sum, hour) => sum + hour.matched, 0);
    if (audited !== events.length * PATHS.length) faults.push(`the audit matched ${audited} of ${events.length * PATHS.length} deliveries`);
    for (const path of PATHS) faults.push(...faultsOf(verdicts[path]).map((fault) => `${path}: ${fault}`));
    const excess = excessOf(Object.values(verdicts), { nodes: environments.length, ...tally });
    if (excess !== null) faults.push(excess);
    faults.push(...receiver.problems.slice(0, 5));
    await services.storage.close();
    return { events: events.length, deliveries: events.length * PATHS.length, ...tally, verdicts, faults };
  } finally {
    for (const node of nodes) if (node.process.exitCode === null) node.process.kill('SIGKILL');
    receiver.stop();
    await postgres?.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

function environmentOf(folder: string, databaseUrl: string | null): Environment {
  return {
    PONTAGE_DATA_DIR: folder,
    PONTAGE_PORT: '0',
    PONTAGE_LOG_LEVEL: 'silent',
    PONTAGE_SECRET_KEY: SECRET_KEY,
    ...(databaseUrl === null ? {} : { DATABASE_URL: databaseUrl }),
  };
}

/** The same database from this process, as the command line has it beside a server. */
async function openBeside(environment: Environment): Promise<Services> {
  const read = readConfig(environment, 'development');
  if (!read.ok) throw new Error(read.problems.join('\n'));
  return openServices(read.config, 'always');
}

async function makeTrouble(
  { moments, freezes, outages, random, onMoment }: StoryOptions,
  nodes: Node[],
  environments: readonly Environment[],
  postgres: TestPostgres | null,
  receiver: Receiver,
): Promise<Tally> {
  const tally: Tally = { kills: 0, databaseCrashes: 0, freezes: 0 };
  const freezeEvery = freezes > 0 ? Math.floor(moments / freezes) : Number.POSITIVE_INFINITY;
  for (let moment = 1; moment <= moments; moment += 1) {
    if (outages && moment % OUTAGE_EVERY_MOMENTS === 0) receiver.down = !receiver.down;
    const which = Math.floor(random() * nodes.length);
    const node = nodes[which]!;
    if (moment % DURING_START_EVERY !== 0) await Promise.all(nodes.map(({ ready }) => ready));
    await pause(random() * LATEST_TROUBLE_MS);
    if (nodes.length > 1 && moment % freezeEvery === 0 && tally.freezes < freezes) {
      await node.ready;
      node.freeze();
      await pause(FREEZE_MS.least + random() * (FREEZE_MS.most - FREEZE_MS.least));
      node.thaw();
      tally.freezes += 1;
    } else if (postgres && random() < DATABASE_SHARE) {
      await Promise.all(nodes.map(({ ready }) => ready));
      await postgres.crash!();
      tally.databaseCrashes += 1;
    } else {
      await node.kill();
      nodes[which] = startNode(environments[which]!);
      tally.kills += 1;
    }
    onMoment(moment);
  }
  await Promise.all(nodes.map(({ ready }) => ready));
  return tally;
}

/** Until every lane is settled, no webhook lags, and nothing waits for another attempt. */
async function quiet({ storage }: Services): Promise<void> {
  const deadline = Date.now() + QUIET_WITHIN_MS;
  for (;;) {
    const open = await storage.first<{ unsettled: number; lagging: number; parked: number }>(sql`
      select (select count(*) from lane_heads h join lane_leases l on l.lane = h.lane where l.settled < h.head) as unsettled,
        (select count(*) from endpoint_positions) as lagging,
        (select count(*) from parked where state <> 'dead') as parked`);
    if (open && open.unsettled + open.lagging + open.parked === 0) return;
    if (Date.now() > deadline) throw new Error(`still open after ${QUIET_WITHIN_MS / 1_000} s: ${JSON.stringify(open)}`);
    await pause(100);
  }
}

async function allEvents({ storage }: Services): Promise<Told[]> {
  const events: Told[] = [];
  for (let lane = 0; lane < LANES; lane += 1) {
    const read = await readLane(storage, lane, 0, 10_000_000);
    read.forEach(({ seq }, index) => {
      if (seq !== index + 1) throw new Error(`lane ${lane} has a gap before ${seq}`);
    });
    for (const { id, seq, itemId } of read) if (itemId !== null) events.push({ id, itemId, lane, seq });
  }
  return events;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
