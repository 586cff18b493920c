/** A server that runs until it is told to stop. */
import { flushCompileCache } from 'node:module';
import type { RunningServer } from '../server.ts';

/** Ends the process on SIGINT and SIGTERM: cleanly at the first, at once at the second SIGINT. */
export function stopOnSignal(server: Pick<RunningServer, 'stop'>): void {
  // What the launcher asked Node to keep for quicker starts is otherwise written only at a clean end.
  flushCompileCache();
  let stopping = false;
  const stop = (signal: 'SIGINT' | 'SIGTERM') => {
    if (stopping) {
      if (signal === 'SIGINT') process.exit(130);
      return;
    }
    stopping = true;
    void server.stop().finally(() => process.exit(0));
  };
  process.on('SIGINT', () => stop('SIGINT'));
  process.on('SIGTERM', () => stop('SIGTERM'));
}
