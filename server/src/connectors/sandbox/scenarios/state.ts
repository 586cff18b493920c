/** What the bank of a scenario has done up to a moment: its accounts, their rows in the order it lists them, their balances. Pure. */
import { parseDecimal } from '../../../base/money.ts';
import type { IdStyle, Scenario, ScenarioAccount, Step } from './scenario.ts';

export type Row = {
  name: string;
  status: 'booked' | 'pending' | 'scheduled';
  amount: string;
  label: string;
  /** Days of the scenario. */
  day: number;
  bookedDay: number | null;
  shown: boolean;
  /** How often its id was given anew, and whether the booked row names its pending one. */
  mints: number;
  linked: boolean;
  removed: boolean;
};

export type AccountState = {
  account: ScenarioAccount;
  /** Oldest first. */
  rows: Row[];
  /** Booked rows are added to it by whoever reads. */
  adjustedMinor: number;
  ids: IdStyle;
  renumbered: number;
  relabels: { drop: string; add: string }[];
  truncated: { rows: number; admits: boolean } | null;
  listed: boolean;
};

export type BankState = {
  accounts: ReadonlyMap<string, AccountState>;
  down: string | null;
  slowSeconds: number;
  refused: { status: number; info: string | null } | null;
  /** When the consent ended last (since the connection), or null. */
  expiredAtMs: number | null;
};

export function stateAt(scenario: Scenario, sinceConnectionMs: number): BankState {
  const accounts = new Map(
    scenario.accounts.map((account): [string, AccountState] => [
      account.key,
      {
        ...{ account, rows: [], adjustedMinor: 0, ids: account.ids, renumbered: 0, relabels: [], truncated: null },
        listed: (account.opens - 1) * 86_400_000 <= sinceConnectionMs,
      },
    ]),
  );
  const state: BankState = { accounts, down: null, slowSeconds: 0, refused: null, expiredAtMs: null };
  const rows = new Map<string, Row>();
  let unnamed = 0;
  const accountOf = (step: { account?: string | undefined }) => accounts.get(step.account ?? scenario.accounts[0]!.key)!;

  const add = (step: Extract<Step, { word: Row['status'] }>) => {
    const { rows: list } = accountOf(step);
    for (let copy = 0; copy < step.count; copy += 1) {
      unnamed += 1;
      const day = step.date ?? step.day;
      const made: Row = {
        name: `${step.row ?? unnamed}#${copy}`,
        status: step.word,
        amount: step.amount,
        label: step.label,
        day,
        bookedDay: step.word === 'booked' ? day : null,
        shown: step.shown,
        ...{ mints: 0, linked: false, removed: false },
      };
      list.push(made);
      if (step.row !== undefined && copy === 0) rows.set(step.row, made);
    }
  };
  const change = (row: Row, step: { amount?: string | undefined; label?: string | undefined; date?: number | undefined }) => {
    row.amount = step.amount ?? row.amount;
    row.label = step.label ?? row.label;
    row.day = step.date ?? row.day;
  };

  for (const step of scenario.steps) {
    if (step.atMs > sinceConnectionMs) break;
    switch (step.word) {
      case 'booked':
      case 'pending':
      case 'scheduled':
        add(step);
        break;
      case 'book': {
        const row = rows.get(step.row)!;
        change(row, step);
        row.status = 'booked';
        row.bookedDay = step.day;
        if (step.id !== 'kept') row.mints += 1;
        row.linked = step.id === 'linked';
        break;
      }
      case 'change': {
        const row = rows.get(step.row)!;
        change(row, step);
        if (step.date !== undefined && row.bookedDay !== null) row.bookedDay = step.date;
        break;
      }
      case 'remove':
      case 'restore':
        rows.get(step.row)!.removed = step.word === 'remove';
        break;
      case 'adjust': {
        const target = accountOf(step);
        target.adjustedMinor += parseDecimal(step.by, target.account.currency)!.minor;
        break;
      }
      case 'renumber': {
        const target = accountOf(step);
        target.renumbered += 1;
        target.ids = step.ids ?? target.ids;
        break;
      }
      case 'relabel':
        accountOf(step).relabels.push({ drop: step.drop ?? '', add: step.add ?? '' });
        break;
      case 'truncate':
        accountOf(step).truncated = { rows: step.rows, admits: step.admits };
        break;
      case 'whole':
        accountOf(step).truncated = null;
        break;
      case 'vanish':
      case 'return':
        accountOf(step).listed = step.word === 'return';
        break;
      case 'down':
        state.down = step.info;
        break;
      case 'up':
        state.down = null;
        break;
      case 'slow':
        state.slowSeconds = step.seconds;
        break;
      case 'refuse':
        state.refused = { status: step.status, info: step.info ?? null };
        break;
      case 'accept':
        state.refused = null;
        break;
      case 'expire':
        state.expiredAtMs = step.atMs;
        break;
      case 'renew':
        // What the user does; the bank learns of it in Connect.
        break;
      default:
        step satisfies never;
    }
  }
  return state;
}

/** The label as the bank writes it now. */
export function labelOf({ relabels }: Pick<AccountState, 'relabels'>, label: string): string {
  return relabels.reduce((text, { drop, add }) => add + (drop !== '' && text.startsWith(drop) ? text.slice(drop.length) : text), label);
}
