/**
 * The health of all endpoints as this node knows it. Each answer takes effect here at once; what others must know is
 * written soon after by compare-and-set, and told to operators in the same transaction. Who was too late reads the row
 * and lets its own answers happen to that, but for those that its owner has forgiven meanwhile.
 */
import type { Clock } from '../../base/clock.ts';
import type { Storage, Writer } from '../../storage/storage.ts';
import {
  type Answer,
  adopt,
  claimProbe,
  differs,
  forgetCount,
  giveUp,
  HEALTHY,
  type Health,
  type Observed,
  observe,
  recover,
  type Transition,
  withinReach,
} from './health.ts';
import { readAllHealth, readHealth, type StoredHealth, UNWRITTEN, writeHealth } from './health-store.ts';

export type Raised = { endpointId: string; transition: Transition };

/** What is known of one endpoint; `health` is replaced, never changed. */
export type Fitness = { readonly endpointId: string; readonly health: Health };

export type Circuits = {
  /** The same object for the same endpoint, for as long as it lives. */
  of(endpointId: string): Fitness;
  observe(endpointId: string, answer: Answer, probe: boolean): Observed;
  /** Whether the probe that is due is this node's. Written before it answers. */
  claimProbe(endpointId: string): Promise<boolean>;
  /** It cannot be reached, and nothing else is left to try. */
  giveUp(endpointId: string): void;
  /** It is sent to as another receiver: failures that this node has counted were not this one's. */
  forgetCount(endpointId: string): void;
  /** It has drained what it missed. */
  recover(endpointId: string): void;
  /** Mends times that a clock has set which is set back by now. Reads the rows where their version, the sum of their revisions, is not the one that is known. */
  refresh(version: number): Promise<void>;
  /** Writes all there is to write. Never rejects. */
  flush(): Promise<void>;
  forget(endpointId: string): void;
  stop(): void;
};

type Change = (health: Health) => { health: Health; raised: readonly Transition[] };
/** `version`: of the configuration under which it was seen. */
type Step = { change: Change; version: number };
type Entry = {
  endpointId: string;
  stored: StoredHealth;
  /** Before the steps that are not written. */
  base: Health;
  health: Health;
  steps: Step[];
  /** Successes of a healthy endpoint come by the ten thousand a second: only the newest is kept, and none makes a step. */
  succeededAt: number | null;
};

const FINE: Observed = { health: HEALTHY, raised: [], costsAttempt: true };

/** Writers of one row that are ahead of us in turn; more mean that something else is wrong. */
const ROUNDS_MAX = 8;

export function createCircuits(options: {
  storage: Storage;
  clock: Clock;
  /** Of the configuration that this node goes by. */
  configurationVersion: () => number;
  /** In the transaction that writes the rows, as its last statements. */
  raise: (tx: Writer, raised: readonly Raised[], now: number) => Promise<void>;
  /** After the commit. */
  onRaised: (raised: readonly Raised[]) => void;
  onTrouble: (error: unknown) => void;
}): Circuits {
  const { storage, clock } = options;
  const entries = new Map<string, Entry>();
  let flushing: Promise<void> | null = null;
  let scheduled = false;
  let stopped = false;

  function entryOf(endpointId: string): Entry {
    let entry = entries.get(endpointId);
    if (!entry) {
      entry = { endpointId, stored: UNWRITTEN, base: HEALTHY, health: HEALTHY, steps: [], succeededAt: null };
      entries.set(endpointId, entry);
    }
    return entry;
  }

  /** Kept as a step from the first one on that others must know of. */
  function step(entry: Entry, change: Change) {
    if (entry.succeededAt !== null) {
      entry.health = { ...entry.health, lastSuccessAt: entry.succeededAt };
      if (entry.steps.length === 0) entry.base = entry.health;
      entry.succeededAt = null;
    }
    const before = entry.health;
    const { health, raised } = change(before);
    entry.health = health;
    if (entry.steps.length === 0 && raised.length === 0 && !differs(before, health)) {
      entry.base = health;
      return;
    }
    entry.steps.push({ change, version: options.configurationVersion() });
    schedule();
  }

  function schedule() {
    if (scheduled || stopped) return;
    scheduled = true;
    setImmediate(() => {
      scheduled = false;
      void flush();
    });
  }

  function replay(entry: Entry): Transition[] {
    const raised: Transition[] = [];
    entry.health = entry.base;
    for (const { change } of entry.steps) {
      const next = change(entry.health);
      entry.health = next.health;
      raised.push(...next.raised);
    }
    return raised;
  }

  /** The row of another writer, and then what happened here. */
  function rebase(entry: Entry, stored: StoredHealth) {
    const { forgivenVersion } = stored;
    const forgiven = forgivenVersion > entry.stored.forgivenVersion;
    if (forgiven) entry.steps = entry.steps.filter(({ version }) => version >= forgivenVersion);
    entry.stored = stored;
    entry.base = forgiven ? stored.health : adopt(stored.health, entry.base);
    replay(entry);
  }

  async function write(): Promise<boolean> {
    const dirty = [...entries.values()].filter(({ steps }) => steps.length > 0).sort((a, b) => (a.endpointId < b.endpointId ? -1 : 1));
    if (dirty.length === 0) return true;
    const wishes = dirty.map((entry) => {
      const raised = replay(entry).map((transition) => ({ endpointId: entry.endpointId, transition }));
      return { entry, health: entry.health, revision: entry.stored.revision, written: new Set(entry.steps), raised };
    });
    const wrote = await storage.transaction(async (tx) => {
      // Given in one turn, in the order of the endpoints: one round trip on PostgreSQL, and no deadlock of two nodes.
      const won = await Promise.all(wishes.map(({ entry, health, revision }) => writeHealth(tx, entry.endpointId, health, revision)));
      const raised = wishes.flatMap((wish, index) => (won[index] ? wish.raised : []));
      if (raised.length > 0) await options.raise(tx, raised, clock.now());
      return won;
    });
    for (const [index, { entry, health, revision, written }] of wishes.entries()) {
      if (wrote[index]) {
        entry.steps = entry.steps.filter((one) => !written.has(one));
        // Unless the row was read meanwhile, with this in it.
        if (entry.stored.revision === revision) {
          entry.stored = { ...entry.stored, health, revision: revision + 1 };
          entry.base = health;
        }
        replay(entry);
      } else rebase(entry, await readHealth(storage, entry.endpointId));
    }
    options.onRaised(wishes.flatMap(({ raised }, index) => (wrote[index] ? raised : [])));
    return wrote.every(Boolean);
  }

  async function flush(): Promise<void> {
    if (stopped) return;
    flushing ??= (async () => {
      try {
        for (let round = 0; round < ROUNDS_MAX && !stopped; round += 1) if (await write()) break;
      } catch (error) {
        options.onTrouble(error);
      } finally {
        flushing = null;
      }
    })();
    return flushing;
  }

  return {
    of: entryOf,
    observe(endpointId, answer, probe) {
      const entry = entryOf(endpointId);
      const now = clock.now();
      const { circuit, pause } = entry.health;
      if (answer.kind === 'success' && circuit.state === 'closed' && circuit.failing === null && pause === null) {
        entry.succeededAt = now;
        return FINE;
      }
      const observed = observe(entry.health, answer, probe, now);
      step(entry, (health) => observe(health, answer, probe, now));
      return observed;
    },
    async claimProbe(endpointId) {
      await flush();
      const entry = entryOf(endpointId);
      const claimed = claimProbe(entry.health, clock.now());
      if (!claimed || entry.steps.length > 0) return false;
      const before = entry.stored;
      const won = await storage.transaction((tx) => writeHealth(tx, endpointId, claimed, before.revision));
      const stored = won ? { ...before, health: claimed, revision: before.revision + 1 } : await readHealth(storage, endpointId);
      if (stored.revision >= entry.stored.revision) rebase(entry, stored);
      return won;
    },
    giveUp(endpointId) {
      const now = clock.now();
      step(entryOf(endpointId), (health) => giveUp(health, now));
    },
    forgetCount(endpointId) {
      step(entryOf(endpointId), (health) => ({ health: forgetCount(health), raised: [] }));
    },
    recover(endpointId) {
      step(entryOf(endpointId), recover);
    },
    async refresh(version) {
      const now = clock.now();
      for (const entry of entries.values()) {
        if (withinReach(entry.health, now) !== entry.health) step(entry, (health) => ({ health: withinReach(health, now), raised: [] }));
      }
      await flush();
      const known = [...entries.values()].reduce((sum, { stored }) => sum + stored.revision, 0);
      if (known === version) return;
      const rows = await readAllHealth(storage);
      for (const [id, row] of rows) {
        const entry = entryOf(id);
        // Ours may be written while it is read.
        if (row.revision > entry.stored.revision) rebase(entry, row);
      }
      for (const entry of entries.values()) {
        if (entry.stored.revision > 0 && !rows.has(entry.endpointId)) rebase(entry, UNWRITTEN);
      }
    },
    flush,
    forget: (endpointId) => void entries.delete(endpointId),
    stop() {
      stopped = true;
    },
  };
}
