/** What all commands share: one shape of output, the services of the data folder, and applications by their names. */
import type { Command } from 'commander';
import { type Application, findApplication, findApplicationByClientId, listApplications } from '../access/applications.ts';
import { type Config, loadConfig, OperatorError } from '../config.ts';
import type { Services } from '../services.ts';
import type { Storage } from '../storage/storage.ts';

/** With `--json` the machine's form on one line, else lines for people. */
export function print(options: { json?: boolean }, machine: unknown, lines: readonly string[]): void {
  process.stdout.write(options.json ? `${JSON.stringify(machine)}\n` : lines.map((line) => `${line}\n`).join(''));
}

/** A command with `--json` and an example; `words` is `name <argument>` as commander has it. */
export function describe(parent: Command, words: string, summary: string, example: string): Command {
  return parent
    .command(words)
    .description(summary)
    .option('--json', 'print JSON for programs')
    .addHelpText('after', `\nExample:\n  $ npx pontage ${example}`);
}

/** Opens everything that a command needs, and closes it however the command ends. */
export async function withServices<T>(work: (services: Services, config: Config) => Promise<T>): Promise<T> {
  const config = loadConfig('auto');
  // Loaded when it is needed: `--help` needs none of it.
  const { openServices } = await import('../services.ts');
  const services = await openServices(config, 'when empty');
  try {
    return await work(services, config);
  } finally {
    await services.storage.close();
  }
}

/** By client id or id; without a name, the only one there is. Throws {@link OperatorError}. */
export async function pickApplication(storage: Storage, name: string | undefined): Promise<Application> {
  if (name !== undefined) {
    const found = (await findApplicationByClientId(storage, name)) ?? (await findApplication(storage, name));
    if (found) return found;
    throw new OperatorError(`There is no application ${name}: see npx pontage app list`);
  }
  const [only, ...others] = await listApplications(storage);
  if (!only) throw new OperatorError('There is no application yet: npx pontage app create --name NAME --environment sandbox');
  if (others.length > 0)
    throw new OperatorError('There are several applications: name one with --app CLIENT_ID (see npx pontage app list)');
  return only;
}

/** Rows as aligned columns under their titles. */
export function table(titles: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = titles.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  return [titles, ...rows].map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
