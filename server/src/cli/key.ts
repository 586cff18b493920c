import type { Command } from 'commander';
import { type Config, keyFile } from '../config.ts';
import { createKeyRing, prependKey } from '../keys.ts';
import { describe, print, withServices } from './command.ts';

export function addKeyCommands(program: Command): void {
  const key = program.command('key').description('the key that seals what is secret in the database');

  describe(key, 'rotate', 'wrap every data key again under the current key; servers may run meanwhile', 'key rotate')
    .addHelpText(
      'after',
      `
Where the key is in the data folder (development), a new one is made first. Where it is in PONTAGE_SECRET_KEY, write
the new key before the old one, separated by a comma, restart the servers with it, run this, then remove the old one.`,
    )
    .action((options: { json?: boolean }) =>
      withServices(async ({ storage, vault }, config) => {
        if (config.secretKeys.length === 0) prependKey(keyFile(config));
        const rewrapped = await vault.rewrap(storage);
        const { current } = createKeyRing(config)();
        print(options, { key_id: current.id, rewrapped }, [
          `${rewrapped} data ${rewrapped === 1 ? 'key is' : 'keys are'} wrapped again; all are under key ${current.id}.`,
          next(config, rewrapped),
        ]);
      }),
    );
}

function next(config: Config, rewrapped: number): string {
  if (config.secretKeys.length === 0) return `Earlier keys stay in ${keyFile(config)}, because backups made before need them.`;
  if (config.secretKeys.length > 1)
    return 'The keys after the first may be removed from PONTAGE_SECRET_KEY; keep them with the backups made before.';
  return rewrapped > 0
    ? 'Nothing needs another key now.'
    : 'To change the key, write a new one before it in PONTAGE_SECRET_KEY, separated by a comma, and restart the servers first.';
}
