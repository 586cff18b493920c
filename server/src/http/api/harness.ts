/** What the tests of the management API share: the real application on a real database, reached through its front door. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachEngine } from '../../../test/support/engines.ts';
import { type ApplicationCredentials, createApplication } from '../../access/applications.ts';
import { appendEvents } from '../../events/log.ts';
import type { Storage } from '../../storage/storage.ts';
import { createApi } from './app.ts';
import type { Services } from './services.ts';

export const START = Date.parse('2023-07-26T09:10:16.058Z');

export type House = {
  storage: Storage;
  clock: { now(): number; advance(ms: number): void };
  failures: unknown[];
  application(): Promise<Tenant>;
  fetch(path: string, init?: RequestInit): Promise<Response>;
};

export type Tenant = ApplicationCredentials & {
  headers: Record<string, string>;
  get(path: string, headers?: Record<string, string>): Promise<Response>;
  send(method: string, path: string, body?: unknown): Promise<Response>;
  /** The body of an answer 200. */
  read<T = Record<string, unknown>>(path: string): Promise<T>;
};

export function openHouse(storage: Storage, options: Partial<Services> = {}): House {
  let now = START;
  const clock = {
    now: () => now,
    advance: (ms: number) => {
      now += ms;
    },
  };
  const failures: unknown[] = [];
  const app = createApi({
    storage,
    clock,
    publicUrl: 'http://127.0.0.1:4280',
    documentationUrl: 'https://docs.example/errors',
    clientAddress: (c) => c.req.header('X-Test-Address') ?? '192.0.2.1',
    reportFailure: (error) => failures.push(error),
    ...options,
  });
  const fetch = async (path: string, init?: RequestInit) => app.request(path, init);
  return {
    storage,
    clock,
    failures,
    fetch,
    application: async () => {
      const fields = { name: 'tenant', environment: 'sandbox', redirectUrl: null } as const;
      return tenant(await storage.transaction((tx) => createApplication(tx, fields, START)), fetch);
    },
  };
}

function tenant(credentials: ApplicationCredentials, fetch: House['fetch']): Tenant {
  const headers = { 'Client-Id': credentials.clientId, 'Client-Secret': credentials.clientSecret };
  const get: Tenant['get'] = (path, more = {}) => fetch(path, { headers: { ...headers, ...more } });
  return {
    ...credentials,
    headers,
    get,
    send: (method, path, body) =>
      fetch(path, {
        method,
        headers: { ...headers, ...(body === undefined ? {} : { 'Content-Type': 'application/json' }) },
        ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      }),
    read: async <T>(path: string) => {
      const response = await get(path);
      const text = await response.text();
      assert.equal(response.status, 200, text);
      return JSON.parse(text) as T;
    },
  };
}

/** `item.created` of each item, in one transaction, as a refresh commits them. */
export async function addEvents(storage: Storage, application: { id: string }, items: readonly number[], at = START): Promise<void> {
  await storage.transaction((tx) =>
    appendEvents(
      tx,
      { applicationId: application.id, refreshId: null, committedAt: at },
      items.map((itemId, index) => ({
        draft: { type: 'item.created', itemId, userUuid: '9a95b38f-f98b-417a-988b-9d0d584893e7' },
        timestamp: at + index,
      })),
    ),
  );
}

/** The flat error, with its anchor in the documentation, and nothing of our insides. Answers its message. */
export async function refused(response: Response, status: number, type: string): Promise<string> {
  const body = (await response.json()) as { type: string; message: string; documentation_url: string };
  assert.equal(response.status, status, JSON.stringify(body));
  assert.deepEqual(Object.keys(body), ['type', 'message', 'documentation_url']);
  assert.equal(body.type, type);
  assert.equal(body.documentation_url, `https://docs.example/errors#${type}`);
  assert.doesNotMatch(JSON.stringify(body), /\bat .*\.ts:|node_modules/);
  return body.message;
}

/** Tells stories of the management API, each once per engine, on a database of its own. */
export function stories(name: string, tell: (story: (sentence: string, run: (house: House) => Promise<void>) => void) => void): void {
  eachEngine(name, (open) => tell((sentence, run) => void test(sentence, async (t) => run(openHouse(await open(t))))));
}
