import type { Command } from 'commander';
import { isoTimestamp } from '../base/clock.ts';
import { OperatorError } from '../config.ts';
import { findItem } from '../items/items.ts';
import { findPastRefresh, type PastRefresh, refreshesOfItem } from '../items/refresh-history.ts';
import { FILES_ARE_READ_ONCE, refreshItem } from '../refresh/connection.ts';
import { explainAccount, explainChange, explainRefresh, recordOf } from '../refresh/explain.ts';
import { totalsOf } from '../refresh/record.ts';
import { changesOfRefresh, type KeptChange } from '../transactions/changes.ts';
import { describe, print, table, withServices } from './command.ts';

const LIST_DEFAULT = 20;
const LIST_MAX = 1_000;
/** Enough to see what happened; `--changes` asks for more. */
const CHANGES_DEFAULT = 50;
const CHANGES_MAX = 100_000;

export function addRefreshCommands(program: Command): void {
  const refresh = program.command('refresh').description('refreshes: what banks were asked, what they answered, and why rows were counted');

  describe(refresh, 'list', 'list the refreshes of an item, newest first', 'refresh list --item 4568477')
    .requiredOption('--item <id>', 'the item')
    .option('--limit <count>', `how many, at most ${LIST_MAX}`, String(LIST_DEFAULT))
    .action((options: { item: string; limit: string; json?: boolean }) =>
      withServices(async ({ storage }) => {
        const limit = wholeNumber('--limit', options.limit, LIST_MAX);
        const itemId = wholeNumber('--item', options.item, Number.MAX_SAFE_INTEGER);
        if (!(await findItem(storage, itemId))) throw new OperatorError(`There is no item ${options.item}.`);
        const found = await refreshesOfItem(storage, itemId, { after: null, limit });
        const lines =
          found.length === 0
            ? ['The item has not been refreshed yet.']
            : table(['ID', 'STARTED', 'TRIGGER', 'PHASE', 'STATUS', 'NEW', 'UPDATED', 'DELETED', 'HELD'], found.map(rowOf));
        print(options, found.map(shown), lines);
      }),
    );

  describe(refresh, 'start', 'refresh an item now, within the quotas of its bank', 'refresh start --item 4568477 --full')
    .requiredOption('--item <id>', 'the item')
    .option('--full', 'ask for the whole history rather than for what may have changed')
    .action((options: { item: string; full?: boolean; json?: boolean }) =>
      withServices(async (services) => {
        const itemId = wholeNumber('--item', options.item, Number.MAX_SAFE_INTEGER);
        const item = await findItem(services.storage, itemId);
        if (!item) throw new OperatorError(`There is no item ${options.item}.`);
        const full = options.full === true;
        if (full && services.connector(item.bankId)?.bank.input === 'files') throw new OperatorError(`${FILES_ARE_READ_ONCE}.`);
        const asked = await refreshItem(services, itemId, 'api', { full });
        if (!asked) throw new OperatorError(`There is no item ${options.item}.`);
        const { refreshId, joined, phase } = asked;
        print(options, { refresh_id: refreshId, phase, joined }, [
          joined
            ? `Refresh ${refreshId} (${phase}) is under way already${full && phase !== 'full' ? '; the next one asks for the whole history' : ''}.`
            : `Refresh ${refreshId} (${phase}) runs on the server: see npx pontage refresh list --item ${itemId}`,
        ]);
      }),
    );

  describe(refresh, 'explain <id>', 'say what a refresh asked, what came, and why each row was counted or kept', 'refresh explain rfr_...')
    .option('--changes <count>', `counted rows to show of each account, at most ${CHANGES_MAX}`, String(CHANGES_DEFAULT))
    .action((id: string, options: { changes: string; json?: boolean }) =>
      withServices(async ({ storage }) => {
        const limit = wholeNumber('--changes', options.changes, CHANGES_MAX);
        const found = await findPastRefresh(storage, id);
        if (!found) throw new OperatorError(`There is no refresh ${id}: see npx pontage refresh list --item ID`);
        const changes: KeptChange[] = [];
        const record = recordOf(found);
        const notes = record?.accounts ?? [];
        for (const { account_id: accountId } of notes) {
          const after = { accountId, n: 0 };
          const rows = await changesOfRefresh(storage, id, { after, limit });
          changes.push(...rows.filter((row) => row.accountId === accountId));
        }
        const lines = [...explainRefresh(found)];
        for (const note of notes) {
          const counted = changes.filter(({ accountId }) => accountId === note.account_id);
          const total = note.new + note.updated + note.deleted;
          lines.push('', ...explainAccount(note, record?.list ?? null), ...counted.map((change) => `  ${explainChange(change)}`));
          if (total > counted.length) lines.push(`  and ${total - counted.length} more: --changes ${total}`);
        }
        print(options, { ...shown(found), accounts: notes, changes }, lines);
      }),
    );
}

function wholeNumber(name: string, text: string, max: number): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1 || number > max) throw new OperatorError(`${name} must be a number from 1 to ${max}.`, 2);
  return number;
}

/** In the words of the management API. */
function shown(refresh: PastRefresh): object {
  const record = recordOf(refresh);
  const totals = totalsOf(record);
  return {
    id: refresh.id,
    item_id: refresh.itemId,
    trigger: refresh.cause,
    phase: refresh.phase,
    state: refresh.state,
    status_code: refresh.status,
    status_code_info: refresh.statusCodeInfo,
    full_refresh: refresh.fullRefresh,
    started_at: isoTimestamp(refresh.startedAt),
    finished_at: refresh.finishedAt === null ? null : isoTimestamp(refresh.finishedAt),
    bank_calls: record?.calls ?? null,
    nb_new_transactions: totals.new,
    nb_updated_transactions: totals.updated,
    nb_deleted_transactions: totals.deleted,
    nb_held_transactions: totals.held,
    traceparent: refresh.traceparent,
  };
}

function rowOf(refresh: PastRefresh): string[] {
  const totals = totalsOf(recordOf(refresh));
  const status = refresh.finishedAt === null ? refresh.state : `${refresh.status ?? '-'} ${refresh.statusCodeInfo ?? ''}`.trim();
  return [
    refresh.id,
    isoTimestamp(refresh.startedAt),
    refresh.cause,
    refresh.phase,
    status,
    String(totals.new),
    String(totals.updated),
    String(totals.deleted),
    String(totals.held),
  ];
}
