/**
 * Which lanes this node may deliver. An epoch per lane fences whoever held it before; a node leases lanes by one heartbeat
 * for all of them, its row in `nodes`. Who takes a dead node's lanes takes its row away in the same transaction, so that
 * a heartbeat that finds no row has lost everything, and one that finds it has lost nothing.
 */
import { randomId } from '../../base/random.ts';
import { type Sql, sql, sqlList } from '../../storage/sql.ts';
import type { Presence, Storage, Writer } from '../../storage/storage.ts';
import { CHANNEL, writeHint } from './hints.ts';
import { type LaneState, look, type Node, planLanes, type Sightings, silenceOf } from './sharing.ts';

export { GOOD_FOR_MS, STALE_AFTER_MS } from './sharing.ts';

export type Lease = { lane: number; epoch: number; settled: number };
export type Renewal = {
  /** Ours. Whatever else this node believes to hold is lost. */
  lanes: { lane: number; epoch: number; head: number }[];
  configurationVersion: number | null;
  /** Moves with every change of a row of `endpoint_health`. */
  healthVersion: number | null;
  /** Moves when an erasure begins and when it ends. */
  erasures: number | null;
  /** The first segment of the log that retention is not taking away. */
  oldestSegment: number | null;
  /** Ours, to be handed over: others have less than their share. */
  give: number[];
  /** That take part, this one included; 0 while it does not. */
  nodes: number;
};

export type Leases = {
  /** One statement: renews what is ours, and tells how far those lanes' heads are. Joins first where this node does not take part. */
  renew(): Promise<Renewal>;
  /** Takes our share of what the last renewal saw free or dead. */
  acquire(): Promise<Lease[]>;
  /** Frees these lanes of ours. */
  release(lanes: readonly { number: number; epoch: number }[]): Promise<void>;
  /** Frees all that is ours and takes part no more. */
  leave(): Promise<void>;
  /** As a crash would: frees nothing in the database, and ends the session. */
  abandon(): Promise<void>;
};

/**
 * What another part of the server would ask once a second itself: `moment` is a statement that answers one number or null,
 * and travels with the heartbeat's own.
 */
export type Passenger = { moment: Sql; seen: (moment: number | null) => void };

type BeatRow = {
  version: number | null;
  erasures: number | null;
  oldest: number | null;
  health: number;
  lanes: string;
  nodes: string;
  moments: string;
};
const NOTHING: Renewal = {
  ...{ lanes: [], configurationVersion: null, healthVersion: null, erasures: null, oldestSegment: null },
  ...{ give: [], nodes: 0 },
};

/** `owner` is the node's id, `life` that of this process, random when absent. `onLost`: others may take this node for dead from now on, so it must not send before it has renewed. */
export function createLeases(options: {
  storage: Storage;
  owner: string;
  life?: string;
  monotonicMs: () => number;
  passengers?: readonly Passenger[];
  onHint?: (payload: string) => void;
  onLost?: () => void;
}): Leases {
  const { storage, owner, monotonicMs, passengers = [] } = options;
  const moments = passengers.reduce((all, { moment }) => sql`${all} || ' ' || coalesce(cast((${moment}) as text), '-')`, sql`''`);
  const life = options.life ?? randomId('life');
  const presence: Presence | null =
    storage.shared?.presence({
      name: owner,
      channel: CHANNEL,
      onHint: (payload) => options.onHint?.(payload),
      onLost: () => options.onLost?.(),
    }) ?? null;
  let sightings: Sightings = new Map();
  let nodes: Node[] = [];
  let lanes: LaneState[] = [];
  let ended = false;

  /** Undefined: this node does not take part, or was taken for dead. Subqueries see the moment at which the statement began. */
  async function beat(): Promise<BeatRow | undefined> {
    const present = presence?.held ? 1 : 0;
    return storage.alone.first<BeatRow>(
      sql`update nodes set beats = beats + 1, present = ${present} where id = ${owner} and life = ${life}
          returning (select c.version from configuration c) as version,
            (select c.erasures from configuration c) as erasures,
            (select min(s.segment) from segments s where s.frozen_at is null) as oldest,
            (select cast(coalesce(sum(e.revision), 0) as bigint) from endpoint_health e) as health,
            (select string_agg(cast(l.lane as text) || ' ' || l.epoch || ' ' || h.head || ' ' || coalesce(l.owner, ''), ',')
              from lane_leases l join lane_heads h on h.lane = l.lane) as lanes,
            (select string_agg(n.id || ' ' || n.life || ' ' || n.beats || ' ' || n.present, ',') from nodes n) as nodes,
            ${moments} as moments`,
    );
  }

  /** False while another process has this node's id and may be alive. What was ours in an earlier life is free from then on. */
  async function join(): Promise<boolean> {
    const held = (await presence?.hold().catch(() => false)) ?? false;
    return storage.transaction(async (tx) => {
      const before = await tx.first<Node>(sql`select id, life, beats, present from nodes where id = ${owner}${storage.forUpdate}`);
      if (!presence) await tx.run(sql`delete from nodes where id <> ${owner}`);
      else if (before && before.life !== life && !held) {
        sightings = look(sightings, [...nodes.filter(({ id }) => id !== owner), before], monotonicMs());
        if (silenceOf({ ...before, present: false }, sightings, monotonicMs()) !== 'stale') return false;
      }
      await tx.run(
        sql`insert into nodes (id, life, beats, present) values (${owner}, ${life}, 1, ${held ? 1 : 0})
            on conflict (id) do update set life = excluded.life, beats = nodes.beats + 1, present = excluded.present`,
      );
      await free(tx, presence ? owner : null);
      return true;
    });
  }

  /** The lanes of one node, or all. The rows are locked in the order of lanes, as settling locks them. */
  async function free(tx: Writer, of: string | null): Promise<void> {
    const whose = of === null ? sql`l.owner is not null` : sql`l.owner = ${of}`;
    await tx.run(
      sql`update lane_leases set owner = null where lane in (select l.lane from lane_leases l where ${whose} order by l.lane${storage.forUpdate})`,
    );
  }

  /** Whether it is gone: its row stood still, and its silence or its ended session says that it is dead. */
  async function bury(node: Node): Promise<boolean> {
    const silence = silenceOf(node, sightings, monotonicMs());
    if (silence === 'heard') return false;
    return storage.transaction(async (tx) => {
      if (silence === 'suspect' && !(await storage.shared?.isAbsent(tx, node.id))) return false;
      const gone = await tx.run(sql`delete from nodes where id = ${node.id} and life = ${node.life} and beats = ${node.beats}`);
      if (gone === 0) return false;
      await free(tx, node.id);
      return true;
    });
  }

  return {
    async renew() {
      if (ended) return NOTHING;
      // A session that was lost is opened again; without one this node is only dead when it is stale.
      if (presence && !presence.held) await presence.hold().catch(() => false);
      const row = (await beat()) ?? ((await join()) ? await beat() : undefined);
      if (!row) {
        lanes = [];
        return NOTHING;
      }
      const seen = row.moments.split(' ').slice(1);
      for (const [index, passenger] of passengers.entries()) passenger.seen(seen[index] === '-' ? null : Number(seen[index]));
      nodes = parseNodes(row.nodes);
      lanes = parseLanes(row.lanes);
      sightings = look(sightings, nodes, monotonicMs());
      const { give } = planLanes(owner, nodes, lanes);
      const ours = lanes.filter((lane) => lane.owner === owner);
      const { version: configurationVersion, health: healthVersion, erasures, oldest: oldestSegment } = row;
      return { lanes: ours, configurationVersion, healthVersion, erasures, oldestSegment, give, nodes: nodes.length };
    },

    async acquire() {
      for (const node of nodes) {
        if (node.id === owner || !(await bury(node))) continue;
        nodes = nodes.filter(({ id }) => id !== node.id);
        lanes = lanes.map((lane) => (lane.owner === node.id ? { ...lane, owner: null } : lane));
      }
      const { take } = planLanes(owner, nodes, lanes);
      if (take.length === 0) return [];
      const taken = await storage.transaction(async (tx) => {
        // Locked, so that nobody takes this node for dead while it takes lanes.
        const alive = await tx.first(sql`select id from nodes where id = ${owner} and life = ${life}${storage.forUpdate}`);
        if (!alive) return [];
        return tx.all<Lease>(
          sql`update lane_leases set owner = ${owner}, epoch = epoch + 1
              where lane in (select l.lane from lane_leases l where l.lane in ${sqlList(take)} and l.owner is null order by l.lane${storage.forUpdate})
              returning lane, epoch, settled`,
        );
      });
      const epochs = new Map(taken.map(({ lane, epoch }) => [lane, epoch]));
      lanes = lanes.map((lane) => (epochs.has(lane.lane) ? { ...lane, owner, epoch: epochs.get(lane.lane)! } : lane));
      return taken.sort((a, b) => a.lane - b.lane);
    },

    async release(given) {
      await storage.transaction(async (tx) => {
        for (const { number, epoch } of [...given].sort((a, b) => a.number - b.number)) {
          await tx.run(sql`update lane_leases set owner = null where lane = ${number} and owner = ${owner} and epoch = ${epoch}`);
        }
      });
      await storage.shared?.hint(CHANNEL, writeHint(owner, { kind: 'freed' }));
    },

    async leave() {
      ended = true;
      await storage.transaction(async (tx) => {
        const ours = await tx.run(sql`delete from nodes where id = ${owner} and life = ${life}`);
        if (ours > 0) await free(tx, owner);
      });
      if (nodes.length > 1) await storage.shared?.hint(CHANNEL, writeHint(owner, { kind: 'freed' }));
      await presence?.close();
    },

    async abandon() {
      ended = true;
      await presence?.close();
    },
  };
}

function parseNodes(text: string): Node[] {
  return text.split(',').map((part) => {
    const [id = '', life = '', beats, present] = part.split(' ');
    return { id, life, beats: Number(beats), present: present === '1' };
  });
}

function parseLanes(text: string): LaneState[] {
  const parsed = text.split(',').map((part) => {
    const [lane, epoch, head, owner] = part.split(' ');
    return { lane: Number(lane), epoch: Number(epoch), head: Number(head), owner: owner || null };
  });
  return parsed.sort((a, b) => a.lane - b.lane);
}
