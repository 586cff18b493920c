import type { Command } from 'commander';
import { isoTimestamp } from '../base/clock.ts';
import { OperatorError } from '../config.ts';
import { releaseBreaker } from '../refresh/release.ts';
import { describe, print, withServices } from './command.ts';

export function addAccountCommands(program: Command): void {
  const account = program.command('account').description('accounts: deletions that are held back');

  describe(
    account,
    'release <id>',
    'let the next refresh delete what the breaker holds, where the bank is right',
    'account release 22000017',
  ).action((id: string, options: { json?: boolean }) =>
    withServices(async ({ storage, clock }) => {
      const accountId = Number(id);
      if (!Number.isSafeInteger(accountId) || accountId < 1) throw new OperatorError(`"${id}" is no id of an account.`, 2);
      const released = await releaseBreaker(storage, accountId, clock.now());
      if (!released.ok && released.refusal === 'not_found') throw new OperatorError(`There is no account ${id}.`);
      if (!released.ok) throw new OperatorError(`No deletions of account ${id} are held.`);
      const { held, releasedAt } = released;
      print(options, { account_id: accountId, held, released_at: isoTimestamp(releasedAt) }, [
        `Account ${id}: the next refresh deletes what it finds missing, ${held === 1 ? '1 held row' : `${held} held rows`} among it.`,
      ]);
    }),
  );
}
