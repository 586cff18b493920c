/** An item erased while its refresh runs: the run ends without a word, and leaves nothing behind. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Connector } from '../../src/connectors/connector.ts';
import { demoBank } from '../../src/connectors/sandbox/demo-bank.ts';
import { connectItem } from '../../src/refresh/connection.ts';
import { runPass } from '../../src/refresh/worker.ts';
import { sql, sqlText } from '../../src/storage/sql.ts';
import { eraseItem } from '../../src/upkeep/erasure.ts';
import { eachEngine } from '../support/engines.ts';
import { APPLICATION, createWorld, USER } from '../support/world.ts';

const CALLS = ['authenticate', 'listAccounts', 'fetchAccount'] as const;
const TABLES = ['items', 'accounts', 'transactions', 'refreshes', 'data_keys'] as const;

/** The Demo Bank, with something that happens while one of its calls is under way. */
function interrupted(bank: Connector, call: (typeof CALLS)[number], happen: () => Promise<unknown>): Connector {
  const around =
    <Request, Answer>(name: (typeof CALLS)[number], ask: (request: Request, signal: AbortSignal) => Promise<Answer>) =>
    async (request: Request, signal: AbortSignal): Promise<Answer> => {
      if (name === call) await happen();
      return ask(request, signal);
    };
  return {
    bank: bank.bank,
    authenticate: around('authenticate', bank.authenticate),
    listAccounts: around('listAccounts', bank.listAccounts),
    fetchAccount: around('fetchAccount', bank.fetchAccount),
  };
}

eachEngine('an item erased while its refresh runs', (open) => {
  for (const [call, login] of [...CALLS.map((call) => [call, 'success'] as const), ['authenticate', 'otp'] as const]) {
    test(`during ${call}, login ${login}`, async (t) => {
      const storage = await open(t);
      const said: string[] = [];
      let itemId = 0;
      const world = await createWorld(storage, [
        interrupted(demoBank({ latencyMs: 0 }), call, () => eraseItem({ storage, vault: world.services.vault, now: 5 }, itemId)),
      ]);
      const log = {
        debug: () => {},
        info: () => {},
        warn: (_: object, message: string) => said.push(message),
        error: (_: object, message: string) => said.push(message),
      };
      const services = { ...world.services, log };
      const request = { sessionId: await world.session(), applicationId: APPLICATION, userUuid: USER, bankId: 574, clockOffsetMs: 0 };
      const connected = await connectItem(services, { ...request, credentials: { USER: login, PWD: 'any' } });
      assert.ok(typeof connected === 'object');
      itemId = connected.itemId;

      while ((await runPass(services, APPLICATION, new AbortController().signal)) > 0);

      assert.deepEqual(said, []);
      assert.deepEqual(
        (await world.events()).map(({ type }) => type),
        ['item.created'],
      );
      for (const table of TABLES) {
        const count = await storage.first<{ rows: number }>(sql`select count(*) as rows from ${sqlText(table)}`);
        assert.equal(count!.rows, 0, table);
      }
    });
  }
});
