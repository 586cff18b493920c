/** What a webhook says, as one readable sentence. Content is what was received, so nothing about it is taken for granted. */

/** The five kinds of the mission (contract, section 1.6), in the order in which a first connection shows them. */
export const EVENT_KINDS = [
  'item.created',
  'item.account.created',
  'item.account.updated',
  'item.refreshed',
  'item.account.deleted',
] as const;

export type EventKind = (typeof EVENT_KINDS)[number];

export type EventContent = Readonly<Record<string, unknown>>;

/** For example `Account 22908770: 15 new, 0 updated, 0 deleted; balance 1 678.12`. Unknown types get a plain sentence. */
export function eventSentence(type: string, content: EventContent): string {
  const item = `Item ${shown(content.item_id)}`;
  const account = `Account ${shown(content.account_id)}`;
  switch (type) {
    case 'item.created':
      return `${item}: the user pressed “Add your account”`;
    case 'item.account.created':
      return `${account} of item ${shown(content.item_id)} appeared; balance ${amount(content.balance)}`;
    case 'item.account.updated':
      return `${account}: ${shown(content.nb_new_transactions)} new, ${shown(content.nb_updated_transactions)} updated, ${shown(content.nb_deleted_transactions)} deleted; balance ${amount(content.balance)}`;
    case 'item.account.deleted':
      return `${account} of item ${shown(content.item_id)} is no longer given by the bank`;
    case 'item.refreshed': {
      const outcome = `${shown(content.status_code)} ${shown(content.status_code_info)}`;
      return `${item} refreshed: ${outcome}, ${content.full_refresh === true ? 'full history' : 'recent data'}`;
    }
    case 'TEST_EVENT':
      return 'A test event: the endpoint is reachable';
    default:
      return `An event of type ${type}`;
  }
}

function shown(value: unknown): string {
  return typeof value === 'number' || typeof value === 'string' ? String(value) : '?';
}

/** Groups the digits by three; at least two decimals, at most the five that money may have. */
function amount(value: unknown): string {
  if (typeof value !== 'number') return '?';
  const [whole = '0', decimals = '00'] = Math.abs(value)
    .toFixed(5)
    .replace(/0{1,3}$/, '')
    .split('.');
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, '\u202f');
  return `${value < 0 ? '−' : ''}${grouped}.${decimals}`;
}
