/** The command line as it is used: real processes, on folders of their own below one that goes with the test process. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';

export const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
export const KEY = 'Zt1c9mB0qkVxX3yQ8n5rLw2sHd7uJfGa';
export const root = mkdtempSync(join(tmpdir(), 'pontage-cli-'));
/** That of the whole suite, where there is one: some fifty processes are started here, and compiling takes each half of its time. */
const COMPILED = process.env.NODE_COMPILE_CACHE ?? join(root, 'compiled');
after(() => rmSync(root, { recursive: true, force: true, maxRetries: 5 }));

export type Environment = Record<string, string>;
export type Ended = { code: number | null; stdout: string; stderr: string };

function start(args: readonly string[], environment: Environment): ChildProcess {
  const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(?:PONTAGE_|DATABASE_URL$|NODE_TEST)/.test(name)));
  return spawn(process.execPath, [MAIN, ...args], {
    env: { ...inherited, NODE_COMPILE_CACHE: COMPILED, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

export async function run(args: readonly string[], environment: Environment): Promise<Ended> {
  const child = start(args, environment);
  const ended = { stdout: '', stderr: '' };
  child.stdout?.on('data', (chunk) => {
    ended.stdout += chunk;
  });
  child.stderr?.on('data', (chunk) => {
    ended.stderr += chunk;
  });
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, ...ended };
}

/** The one line of JSON of a command that succeeds. */
export async function json<T = Record<string, string>>(args: readonly string[], environment: Environment): Promise<T> {
  const ended = await run([...args, '--json'], environment);
  assert.equal(ended.code, 0, ended.stderr);
  return JSON.parse(ended.stdout) as T;
}

type Server = { child: ChildProcess; ready: Record<string, string>; stop(signal?: NodeJS.Signals): Promise<number | null> };

/** Waits for the line that a server prints when it answers. */
export async function server(command: 'dev' | 'serve', environment: Environment): Promise<Server> {
  const child = start([command, '--json'], environment);
  let errors = '';
  child.stderr?.on('data', (chunk) => {
    errors += chunk;
  });
  const line = await new Promise<string>((resolve, reject) => {
    let text = '';
    child.stdout?.on('data', (chunk) => {
      text += chunk;
      if (text.includes('\n')) resolve(text);
    });
    child.once('exit', (code) => reject(new Error(`the server ended with ${code}: ${errors}`)));
  });
  return {
    child,
    ready: JSON.parse(line) as Record<string, string>,
    async stop(signal = 'SIGTERM') {
      const ended = once(child, 'exit');
      child.kill(signal);
      const [code] = (await ended) as [number | null];
      return code;
    },
  };
}

export function folder(name: string): Environment {
  return { PONTAGE_DATA_DIR: join(root, name), PONTAGE_PORT: '0' };
}

type Arrival = { body: Buffer; headers: IncomingHttpHeaders };

export async function receiver() {
  const arrivals: Arrival[] = [];
  const waiting: (() => void)[] = [];
  const http = createServer(async (request, response) => {
    const body = Buffer.concat(await request.toArray());
    response.end();
    arrivals.push({ body, headers: request.headers });
    for (const wake of waiting.splice(0)) wake();
  });
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  return {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}/webhooks`,
    async arrival(index: number): Promise<Arrival> {
      for (;;) {
        const found = arrivals[index];
        if (found) return found;
        await new Promise<void>((resolve) => waiting.push(resolve));
      }
    },
    close() {
      http.closeAllConnections();
      http.close();
    },
  };
}
