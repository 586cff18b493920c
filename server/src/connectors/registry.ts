/** The catalogue of banks: which connector answers for which bank, and which applications see it. */
import type { Bank, Connector } from './connector.ts';

export type Environment = Bank['environments'][number];

/** Empty lists filter nothing. Countries are alternatives (upper or lower case); capabilities must all be there. */
export type BankFilters = { countries: readonly string[]; capabilities: readonly string[] };

export type Registry = {
  /** The banks that an environment sees, by id descending as the wire lists them. */
  banks(environment: Environment, filters: BankFilters): readonly Bank[];
  /** Null for an unknown bank and for one that the environment does not see. */
  bank(id: number, environment: Environment): Bank | null;
  connector(bankId: number): Connector | null;
};

/** Throws when two connectors claim the same bank id: a mistake of the program, found at start. */
export function createRegistry(connectors: readonly Connector[]): Registry {
  const byBankId = new Map<number, Connector>();
  for (const connector of connectors) {
    if (byBankId.has(connector.bank.id)) throw new Error(`two connectors claim bank ${connector.bank.id}`);
    byBankId.set(connector.bank.id, connector);
  }
  const catalogue = [...byBankId.values()].map((connector) => connector.bank).sort((a, b) => b.id - a.id);
  return {
    banks(environment, filters) {
      const countries = filters.countries.map((country) => country.toUpperCase());
      return catalogue.filter(
        (bank) =>
          bank.environments.includes(environment) &&
          (countries.length === 0 || countries.includes(bank.countryCode.toUpperCase())) &&
          filters.capabilities.every((capability) => bank.capabilities.includes(capability)),
      );
    },
    bank(id, environment) {
      const bank = byBankId.get(id)?.bank;
      return bank?.environments.includes(environment) ? bank : null;
    },
    connector: (bankId) => byBankId.get(bankId) ?? null,
  };
}
