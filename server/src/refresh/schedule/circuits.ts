/** The circuits of banks: outcomes are counted in this process's memory, so that a healthy bank costs no statement; an open circuit is a row that every node sees. */
import { sql } from '../../storage/sql.ts';
import type { Reader, Writer } from '../../storage/storage.ts';
import { type BankOutcome, type Circuit, opened, opens, PROBE_LIMIT_MS, probeFailed } from './circuit.ts';

/** Clocks and banks of different sandboxes have nothing to do with one another, and nothing with production. */
export function circuitDomain(environment: string, applicationId: string): string {
  return environment === 'production' ? 'production' : applicationId;
}

/** Outcomes kept for one bank: at most as many items, the newest; a sample of a large bank says as much as the whole. */
const OUTCOMES_MAX = 1_000;

export type BankOutcomes = {
  /** Notes how an item's latest refresh ended; true where its bank should be left in peace from now on. */
  note(domain: string, bankId: number, itemId: number, outcome: BankOutcome): boolean;
  /** The bank works again: what it did before no longer counts. */
  forget(domain: string, bankId: number): void;
  /** How the latest refresh of each item ended. */
  latest(domain: string, bankId: number): ReadonlyMap<number, BankOutcome>;
};

export function createBankOutcomes(): BankOutcomes {
  const banks = new Map<string, Map<number, BankOutcome>>();
  return {
    note(domain, bankId, itemId, outcome) {
      const key = `${domain}/${bankId}`;
      const latest = banks.get(key) ?? new Map<number, BankOutcome>();
      banks.set(key, latest);
      // Set anew, so that the oldest is the first.
      latest.delete(itemId);
      latest.set(itemId, outcome);
      if (latest.size > OUTCOMES_MAX) latest.delete(latest.keys().next().value!);
      return outcome.failed && opens(latest.values(), outcome.at);
    },
    forget(domain, bankId) {
      banks.delete(`${domain}/${bankId}`);
    },
    latest(domain, bankId) {
      return banks.get(`${domain}/${bankId}`) ?? new Map();
    },
  };
}

type Note = Parameters<BankOutcomes['note']>;

/** Outcomes that others may never come to know of: each of a run that has been worked out and may be dropped. */
export type ForeseenOutcomes = BankOutcomes & {
  /** What has been noted since is of a run that is kept. */
  keep(): void;
  /** What has been noted since the last `keep` has not happened. */
  drop(): void;
  /** What was kept has happened. */
  happened(): void;
};

export function foreseeOutcomes(outcomes: BankOutcomes): ForeseenOutcomes {
  const kept: Note[] = [];
  const noted: Note[] = [];
  return {
    note(...note) {
      const [domain, bankId, , outcome] = note;
      noted.push(note);
      // Only a failure can be the one too many.
      if (!outcome.failed) return false;
      const latest = new Map(outcomes.latest(domain, bankId));
      for (const [ofDomain, ofBank, itemId, earlier] of [...kept, ...noted])
        if (ofDomain === domain && ofBank === bankId) latest.set(itemId, earlier);
      return opens(latest.values(), outcome.at);
    },
    // A bank that works again is for a run that is not worked out ahead.
    forget() {},
    latest: outcomes.latest,
    keep() {
      kept.push(...noted.splice(0));
    },
    drop() {
      noted.length = 0;
    },
    happened() {
      for (const note of kept.splice(0)) outcomes.note(...note);
    },
  };
}

/** The columns of a circuit beside those of another table; null in all where the bank is not suspended. */
export const CIRCUIT_COLUMNS = sql`circuit.opened_at as circuit_opened_at, circuit.probe_at as circuit_probe_at,
  circuit.probes as circuit_probes, circuit.probe_item_id as circuit_probe_item_id`;
/** Joins the circuit of `items` and `applications`. */
export const CIRCUIT_JOIN = sql`left join bank_circuits circuit on circuit.bank_id = items.bank_id
  and circuit.domain = case when applications.environment = 'production' then 'production' else applications.id end`;

export type CircuitRow = {
  circuit_opened_at: number | null;
  circuit_probe_at: number | null;
  circuit_probes: number | null;
  circuit_probe_item_id: number | null;
};

export function circuitFromRow(row: CircuitRow): Circuit | null {
  if (row.circuit_opened_at === null) return null;
  return {
    openedAt: row.circuit_opened_at,
    probeAt: row.circuit_probe_at!,
    probes: row.circuit_probes!,
    probeItemId: row.circuit_probe_item_id,
  };
}

/** What the end of one refresh says to its bank's circuit. `asked`: the bank answered, or should have. */
export type CircuitChange = 'open' | 'close' | 'probe failed' | null;

export function circuitChange(circuit: Circuit | null, itemId: number, bankFailed: boolean, opensNow: boolean): CircuitChange {
  if (!circuit) return opensNow ? 'open' : null;
  if (!bankFailed) return 'close';
  return circuit.probeItemId === itemId ? 'probe failed' : null;
}

export async function writeCircuit(
  tx: Writer,
  bank: { domain: string; bankId: number },
  circuit: Circuit | null,
  change: Exclude<CircuitChange, null>,
  now: number,
): Promise<void> {
  const { domain, bankId } = bank;
  switch (change) {
    case 'open': {
      const { openedAt, probeAt, probes } = opened(now);
      await tx.run(sql`
        insert into bank_circuits (domain, bank_id, opened_at, probe_at, probes) values (${domain}, ${bankId}, ${openedAt}, ${probeAt}, ${probes})
        on conflict do nothing`);
      return;
    }
    case 'close':
      await tx.run(sql`delete from bank_circuits where domain = ${domain} and bank_id = ${bankId}`);
      return;
    case 'probe failed': {
      const { probeAt, probes } = probeFailed(circuit!, now);
      await tx.run(sql`
        update bank_circuits set probe_at = ${probeAt}, probes = ${probes}, probe_item_id = null
        where domain = ${domain} and bank_id = ${bankId} and probe_item_id = ${circuit!.probeItemId}`);
      return;
    }
    default:
      change satisfies never;
  }
}

/** Makes an item the one that asks whether its bank is back; false where another is. */
export async function claimProbe(tx: Writer, bank: { domain: string; bankId: number }, itemId: number, now: number): Promise<boolean> {
  const changed = await tx.run(sql`
    update bank_circuits set probe_item_id = ${itemId}, probe_at = ${now + PROBE_LIMIT_MS}
    where domain = ${bank.domain} and bank_id = ${bank.bankId} and probe_at <= ${now}`);
  return changed === 1;
}

export async function openCircuits(reader: Reader, domain: string): Promise<{ bankId: number; openedAt: number; probeAt: number }[]> {
  const rows = await reader.all<{ bank_id: number; opened_at: number; probe_at: number }>(
    sql`select bank_id, opened_at, probe_at from bank_circuits where domain = ${domain} order by bank_id`,
  );
  return rows.map((row) => ({ bankId: row.bank_id, openedAt: row.opened_at, probeAt: row.probe_at }));
}
