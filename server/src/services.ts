/** What the server and the commands beside it are made of, opened in one place. */
import { systemClock } from './base/clock.ts';
import { pause } from './base/pause.ts';
import { type Config, scenariosFolder } from './config.ts';
import { createRegistry, type Registry } from './connectors/registry.ts';
import { demoBank } from './connectors/sandbox/demo-bank.ts';
import { createScenarios } from './connectors/sandbox/scenarios/library.ts';
import { statementsConnector } from './connectors/statements/connector.ts';
import { openDatabase, prepareSchema } from './database.ts';
import type { AddressPolicy } from './endpoints/addresses.ts';
import { createKeyRing, ensureKeys } from './keys.ts';
import { createBankOutcomes } from './refresh/schedule/circuits.ts';
import type { RefreshReport, RefreshServices } from './refresh/services.ts';
import { createCounters } from './storage/counters.ts';
import type { Storage } from './storage/storage.ts';
import { createLog, type Log } from './telemetry/log.ts';
import { createVault, type Vault } from './vault/vault.ts';

export type Services = RefreshServices & {
  storage: Storage;
  vault: Vault;
  log: Log;
  registry: Registry;
  policy: AddressPolicy;
};

export type ServicesOptions = {
  /** The life of the node that these are of. */
  claimant?: string;
  /** Called after each commit that made events. */
  onEvents?: () => void;
  /** Called after each refresh that was committed. */
  onRefreshed?: (report: RefreshReport) => void;
  /** How long the Demo Bank takes for each answer, so that its progress can be watched; 0 by default. */
  demoBankLatencyMs?: number;
};

/** Everything but the parts that run by themselves. */
export async function openServices(config: Config, schema: 'always' | 'when empty', options: ServicesOptions = {}): Promise<Services> {
  const storage = openDatabase(config);
  try {
    await prepareSchema(storage, schema);
    await ensureKeys(config, storage);
  } catch (error) {
    await storage.close();
    throw error;
  }
  const registry = createRegistry([
    demoBank({ latencyMs: options.demoBankLatencyMs ?? 0, scenarios: createScenarios(scenariosFolder(config)) }),
    statementsConnector,
  ]);
  return {
    storage,
    vault: createVault(createKeyRing(config)),
    counters: createCounters(storage),
    clock: systemClock,
    log: createLog(config.logLevel),
    registry,
    connector: registry.connector,
    pause,
    outcomes: createBankOutcomes(),
    policy: targetPolicy(config),
    onEvents: options.onEvents ?? (() => {}),
    ...(options.claimant === undefined ? {} : { claimant: options.claimant }),
    ...(options.onRefreshed ? { onRefreshed: options.onRefreshed } : {}),
  };
}

/** Which targets webhooks may have, as the operator says. */
export function targetPolicy(config: Config): AddressPolicy {
  return {
    allowLoopback: config.mode === 'development',
    allowedRanges: config.allowedTargets,
    deniedRanges: config.deniedTargets,
    ...(config.allowedPorts === null ? {} : { allowedPorts: config.allowedPorts }),
    egressProxy: config.egressProxy,
  };
}
