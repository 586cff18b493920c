/** What an item and its refresh keep sealed: credentials, what the connector wants kept, the user's code. */
import type { Connector, Credentials, Json } from '../connectors/connector.ts';
import type { Item } from '../items/items.ts';
import type { Refresh } from '../items/refreshes.ts';
import type { RefreshServices } from './services.ts';

export async function openCredentials(services: RefreshServices, item: Item, connector: Connector): Promise<Credentials | null> {
  if (item.credentials === null) return connector.bank.input === 'files' ? {} : null;
  const place = { table: 'items', column: 'credentials', id: item.id };
  return JSON.parse(await services.vault.open(services.storage, item.dataKeyId, place, item.credentials)) as Credentials;
}

export const statePlace = (item: Pick<Item, 'id'>) => ({ table: 'items', column: 'connector_state', id: item.id });

/** What the connector asked to keep at the last successful refresh; null before the first. */
export async function openState(services: Pick<RefreshServices, 'storage' | 'vault'>, item: Item): Promise<Json> {
  if (item.connectorState === null) return null;
  return JSON.parse(await services.vault.open(services.storage, item.dataKeyId, statePlace(item), item.connectorState)) as Json;
}

export async function openAnswer(
  services: RefreshServices,
  refresh: Refresh,
  item: Item,
): Promise<{ state: Json; code: string | null } | null> {
  if (refresh.challengeState === null) return null;
  const open = (column: string, sealed: string) =>
    services.vault.open(services.storage, item.dataKeyId, { table: 'refreshes', column, id: refresh.id }, sealed);
  const state = JSON.parse(await open('challenge_state', refresh.challengeState)) as Json;
  return { state, code: refresh.answer === null ? null : await open('answer', refresh.answer) };
}

/** The credentials as they were typed, told apart from any others. */
export async function fingerprintOf({ storage, vault }: RefreshServices, item: Item): Promise<string> {
  const place = { table: 'items', column: 'credentials', id: item.id };
  const text = item.credentials === null ? '' : await vault.open(storage, item.dataKeyId, place, item.credentials);
  return vault.fingerprint(storage, item.dataKeyId, text);
}
