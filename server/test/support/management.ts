/** The management API over the database of a world, with the credentials of its application. */
import assert from 'node:assert/strict';
import { digest } from '../../src/base/random.ts';
import { openHouse } from '../../src/http/api/harness.ts';
import type { Services } from '../../src/http/api/services.ts';
import { sql } from '../../src/storage/sql.ts';
import { APPLICATION, type World } from './world.ts';

export type Management = <T>(status: number, method: 'GET' | 'POST', path: string, body?: unknown) => Promise<T>;

/** Calls are checked for their status, and answer their body. */
export function managementOf({ services: { storage, vault }, clock }: World, options: Partial<Services> = {}): Management {
  const { fetch } = openHouse(storage, {
    vault,
    clock,
    ...options,
    reportFailure: (error) => {
      throw error;
    },
  });
  const ready = storage.transaction((tx) =>
    tx.run(sql`update applications set client_secret_digest = ${digest('secret')} where id = ${APPLICATION}`),
  );
  const headers = { 'Client-Id': 'client', 'Client-Secret': 'secret', 'Content-Type': 'application/json' };
  return async <T>(status: number, method: 'GET' | 'POST', path: string, body?: unknown) => {
    await ready;
    const response = await fetch(path, { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
    const text = await response.text();
    assert.equal(response.status, status, text);
    return JSON.parse(text) as T;
  };
}
