import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachEngine } from '../../test/support/engines.ts';
import { sql } from '../storage/sql.ts';
import { createApplication } from './applications.ts';
import { deleteExpiredTokens, deleteToken, findTokenUser, issueToken, TOKEN_LIFETIME_MS } from './tokens.ts';

eachEngine('access tokens', (open) => {
  test('a token is good for its application, until its end or its deletion', async (t) => {
    const storage = await open(t);
    const { id } = await storage.transaction((tx) => createApplication(tx, { name: 'Shop', environment: 'sandbox', redirectUrl: null }, 1));
    await storage.transaction((tx) => tx.run(sql`insert into users (uuid, application_id, created_at) values ('u', ${id}, 1)`));
    const issue = (now: number) => storage.transaction((tx) => issueToken(tx, { applicationId: id, userUuid: 'u' }, now));

    const first = await issue(0);
    assert.equal(await findTokenUser(storage, id, first.accessToken, TOKEN_LIFETIME_MS - 1), 'u');
    assert.equal(await findTokenUser(storage, id, first.accessToken, TOKEN_LIFETIME_MS), null);
    assert.equal(await findTokenUser(storage, 'app_other', first.accessToken, 0), null);
    const second = await issue(10);
    assert.equal(await storage.transaction((tx) => deleteExpiredTokens(tx, TOKEN_LIFETIME_MS, 10)), 1);
    assert.equal(await findTokenUser(storage, id, second.accessToken, 20), 'u');
    await storage.transaction((tx) => deleteToken(tx, second.accessToken));
    assert.equal(await findTokenUser(storage, id, second.accessToken, 20), null);
  });
});
