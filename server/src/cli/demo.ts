import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { OperatorError, readConfig } from '../config.ts';
import { describe } from './command.ts';

const INTERRUPTED_EXIT_CODE = 130;

export function addDemoCommand(program: Command): void {
  describe(program, 'demo', 'watch a bank being connected and all five kinds of webhooks arrive, in under 20 seconds', 'demo').action(
    async (options: { json?: boolean }) => {
      const folder = mkdtempSync(join(tmpdir(), 'pontage-demo-'));
      const clean = () => rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
      // However it ends: a closed terminal or pipe ends it too.
      process.once('exit', clean);
      const onSignal = () => process.exit(INTERRUPTED_EXIT_CODE);
      process.once('SIGINT', onSignal).once('SIGTERM', onSignal);
      try {
        // Nothing of this machine's configuration is used, so that the demonstration touches nothing of it.
        const config = readConfig({ PONTAGE_PORT: '0', PONTAGE_DATA_DIR: folder, PONTAGE_LOG_LEVEL: 'error' }, 'development');
        if (!config.ok) throw new OperatorError(config.problems.join('\n'));
        const { demonstrate, machineNarrator, narrator } = await import('./demo-run.ts');
        await demonstrate(config.config, options.json ? machineNarrator() : narrator());
      } finally {
        clean();
        process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
      }
    },
  );
}
