import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Bank, Connector } from './connector.ts';
import { createRegistry } from './registry.ts';
import { demoBankEntry } from './sandbox/demo-bank.ts';

const noFilters = { countries: [], capabilities: [] };

function connectorOf(bank: Partial<Bank>): Connector {
  const failed = async () => ({ kind: 'failed' as const, status: 1003 as const, info: null });
  return { bank: { ...demoBankEntry, ...bank }, authenticate: failed, listAccounts: failed, fetchAccount: failed };
}

const registry = createRegistry([
  connectorOf({ id: 574 }),
  connectorOf({ id: 900, environments: ['sandbox', 'production'], countryCode: 'DE', capabilities: ['ais'] }),
  connectorOf({ id: 12, environments: ['production'] }),
]);

test('an environment sees its banks, by id descending', () => {
  const ids = (environment: 'sandbox' | 'production') => registry.banks(environment, noFilters).map((bank) => bank.id);
  assert.deepEqual(ids('sandbox'), [900, 574]);
  assert.deepEqual(ids('production'), [900, 12]);
});

test('countries are alternatives, capabilities must all be there', () => {
  const ids = (countries: string[], capabilities: string[]) =>
    registry.banks('sandbox', { countries, capabilities }).map((bank) => bank.id);
  assert.deepEqual(ids(['fr'], []), [574]);
  assert.deepEqual(ids(['fr', 'DE'], ['ais']), [900, 574]);
  assert.deepEqual(ids([], ['ais', 'single_transfer']), [574]);
  assert.deepEqual(ids(['ES'], []), []);
});

test('a bank of another environment is not found; its connector is', () => {
  assert.equal(registry.bank(12, 'sandbox'), null);
  assert.equal(registry.bank(12, 'production')?.id, 12);
  assert.equal(registry.bank(1, 'production'), null);
  assert.equal(registry.connector(12)?.bank.id, 12);
  assert.equal(registry.connector(1), null);
});

test('two connectors of one bank are a mistake', () => {
  assert.throws(() => createRegistry([connectorOf({ id: 5 }), connectorOf({ id: 5 })]), /bank 5/);
});
