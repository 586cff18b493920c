/** Servers as processes of their own: started, killed, frozen, thawed. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';

const NODE = new URL('./node.ts', import.meta.url).pathname;

export type Node = {
  readonly process: ChildProcess;
  /** Resolves with its address once it is ready, or with null when it has ended. */
  ready: Promise<string | null>;
  kill(): Promise<void>;
  freeze(): void;
  thaw(): void;
  /** Ends it in order; its exit code. */
  stop(): Promise<number | null>;
};

/** `bankLatencyMs`: how long the Demo Bank takes for each answer. */
export function startNode(environment: Record<string, string>, bankLatencyMs = 0): Node {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', NODE, String(bankLatencyMs)], {
    env: { PATH: process.env.PATH, ...environment },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
  const line = once(child.stdout!, 'data') as Promise<[Buffer]>;
  return {
    process: child,
    ready: Promise.race([line.then(([said]) => said.toString().trim().split(' ').at(-1)!), ended.then(() => null)]),
    async kill() {
      child.kill('SIGKILL');
      const [, signal] = await ended;
      if (signal !== 'SIGKILL') throw new Error('a server ended by itself');
    },
    freeze: () => void child.kill('SIGSTOP'),
    thaw: () => void child.kill('SIGCONT'),
    async stop() {
      child.kill('SIGTERM');
      return (await ended)[0];
    },
  };
}
