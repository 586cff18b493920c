/**
 * Events as lines that people read and files expect: `item.account.updated main +3 ~1 -0`, `item.refreshed 1010
 * OTP_REQUIRED`, `item.refreshed 0 full`. Counts of zero are left out. Pure.
 */
import type { EventType } from '../../../events/catalogue.ts';

export type SeenEvent = { type: string; content: Readonly<Record<string, unknown>>; account: string | null };

const LINE =
  /^(?:item\.created|item\.account\.(?:created|deleted) (?<account>\S+)|item\.account\.updated (?<updated>\S+)(?: \+\d+)?(?: ~\d+)?(?: -\d+)?|item\.refreshed -?\d+(?: [A-Z0-9_]+)?(?: full)?)$/;

/** What is wrong with an expected line, or null. */
export function expectationFault(line: string, accounts: readonly string[]): string | null {
  const match = LINE.exec(line);
  if (!match) {
    return `"${line}" is no event: write e.g. "item.account.updated ${accounts[0]} +3 ~1", "item.account.created ${accounts[0]}" or "item.refreshed 1010 OTP_REQUIRED".`;
  }
  const account = match.groups?.account ?? match.groups?.updated;
  return account === undefined || accounts.includes(account) ? null : `There is no account "${account}", only ${accounts.join(', ')}.`;
}

export function lineOf({ type, content, account }: SeenEvent): string {
  switch (type as EventType) {
    case 'item.account.created':
    case 'item.account.deleted':
      return `${type} ${account}`;
    case 'item.account.updated': {
      const count = (sign: string, value: unknown) => (value === 0 ? '' : ` ${sign}${value}`);
      return `${type} ${account}${count('+', content.nb_new_transactions)}${count('~', content.nb_updated_transactions)}${count('-', content.nb_deleted_transactions)}`;
    }
    case 'item.refreshed': {
      const info = content.status_code === 0 || content.status_code_info == null ? '' : ` ${content.status_code_info}`;
      return `${type} ${content.status_code}${info}${content.full_refresh === true ? ' full' : ''}`;
    }
    default:
      return type;
  }
}

const QUIET = 'item.refreshed 0';

/** What a file has to name: not the quiet refreshes, and of a failure that repeats only the first. */
export function telling(lines: readonly string[]): string[] {
  let failure = '';
  return lines.filter((line) => {
    if (!line.startsWith('item.refreshed')) return true;
    const repeated = line === failure;
    failure = line.startsWith(QUIET) ? '' : line;
    return line !== QUIET && !repeated;
  });
}
