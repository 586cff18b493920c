/** Where scenarios are found: the presets that ship, and the operator's own files. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Problem } from './read.ts';
import type { Scenario } from './scenario.ts';

const PRESETS = fileURLToPath(new URL('./presets/', import.meta.url));
const ENDING = '.yaml';
/** Names are parts of paths: nothing else may be. */
const NAME = /^[a-z0-9][a-z0-9-]{0,63}$/;

export type Scenarios = {
  /** The preset, or the file of that name in the operator's folder; null where there is none, or where it cannot be read. */
  find(name: string): Promise<Scenario | null>;
  names(): string[];
};

/** `folder` holds the operator's own `NAME.yaml`, read when they are asked for; it need not exist. */
export function createScenarios(folder: string | null): Scenarios {
  const presets = new Map<string, Scenario>();
  const own = () => {
    if (folder === null) return [];
    try {
      return namesIn(folder);
    } catch {
      return [];
    }
  };
  return {
    async find(name) {
      if (!NAME.test(name)) return null;
      const known = presets.get(name);
      if (known) return known;
      const found = await load(join(PRESETS, `${name}${ENDING}`));
      if (found?.ok) {
        presets.set(name, found.scenario);
        return found.scenario;
      }
      const file = folder === null ? null : await load(join(folder, `${name}${ENDING}`));
      return file?.ok ? file.scenario : null;
    },
    names: () => [...new Set([...namesIn(PRESETS), ...own()])].sort(),
  };
}

function namesIn(folder: string): string[] {
  return readdirSync(folder)
    .filter((file) => file.endsWith(ENDING))
    .map((file) => file.slice(0, -ENDING.length))
    .filter((name) => NAME.test(name));
}

/** Null where there is no such file. */
export async function load(file: string): Promise<{ ok: true; scenario: Scenario } | { ok: false; problems: readonly Problem[] } | null> {
  let source: string;
  try {
    source = readFileSync(file, 'utf8');
  } catch {
    return null;
  }
  // With YAML and the schema, 5 MB that only whoever plays a scenario costs.
  const { readScenario } = await import('./read.ts');
  return readScenario(source);
}
