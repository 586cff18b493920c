/** The other side of the benchmark: a process of its own, so that its work is not counted as ours. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';

/** When each event arrived, nanoseconds of the machine's monotonic clock; `path` tells the endpoints apart. */
export type Arrival = { path: string; id: string; atNs: bigint };
export type Receivers = {
  /** Its paths: `/hang…` never answers, `/500…` and `/429…` answer so, any other answers 200. */
  origin: string;
  port: number;
  /** Arrivals since the last report, if they are timed. */
  report(): Promise<Arrival[]>;
  stop(): Promise<void>;
};

export async function startReceivers(options: { timed: boolean; port?: number }): Promise<Receivers> {
  const process: ChildProcess = fork(new URL('../receiver.ts', import.meta.url), [
    ...(options.timed ? ['--timed'] : []),
    ...(options.port === undefined ? [] : [`--port=${options.port}`]),
  ]);
  const [{ port }] = (await once(process, 'message')) as [{ port: number }];
  return {
    origin: `http://127.0.0.1:${port}`,
    port,
    async report() {
      process.send('report');
      const [{ arrivals }] = (await once(process, 'message')) as [{ arrivals: [string, string, string][] }];
      return arrivals.map(([path, id, at]) => ({ path, id, atNs: BigInt(at) }));
    },
    async stop() {
      const ended = once(process, 'exit');
      process.kill();
      await ended;
    },
  };
}
