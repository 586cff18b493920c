/** Whatever is asked, and however it is written, the answer is one of the documented ones: never a fault of ours. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ERRORS } from '../../base/errors.ts';
import { ROUTES } from './app.ts';
import { addAccount, addItem, addTransactions, START, stories } from './harness.ts';

const RUNS = 300;
/** Longer than any window of a limit. */
const PAUSE_MS = 5 * 60_000;
/** Shorter than the life of a token, in all. */
const RUNS_PER_TOKEN = 20;

/** What databases and parsers are known to stumble over. */
const hostile = fc.constantFrom('\u0000', 'a\u0000b', '\ud800', '\udc00\ud800', '9007199254740993', '99999999999999999999', '2023-02-30');
const odd = fc.oneof(
  fc.constantFrom('', ' ', '0', '-1', '1e3', '501', 'null', 'undefined', '[]', '../..', "' or 1=1 --", '%', '🌉', 'é'.repeat(300)),
  fc.constantFrom('0000-01-01', '9999-12-31T23:59:59-12:00', 'OTk5OTk5OTk5OTk5OTk5OQ', Buffer.from('9999-99-99:1').toString('base64url')),
  fc.string({ unit: 'binary', maxLength: 40 }),
);
const known = fc.constantFrom('801', '8001', '80001', '574', '160', '2023-07-26', '2023-07-26T09:10:16Z', 'fr', 'a@b', 'password');
const value = fc.oneof(known, hostile, odd);

const PARAMETERS = ['limit', 'after', 'since', 'until', 'item_id', 'countries', 'capabilities', 'redirect_url', 'context', 'x'];
const FIELDS: Readonly<Record<string, readonly string[]>> = {
  '/v2/users': ['email', 'password', 'external_user_id'],
  '/v2/authenticate': ['user_uuid', 'external_user_id', 'email', 'password'],
  '/v2/connect/items/add': ['bank_id', 'country', 'context', 'redirect_url', 'capabilities', 'prefill_email'],
};

/** Without those that would take away what the others are asked about. */
const TAKES_AWAY = ['DELETE /v2/users', 'POST /v2/logout', 'DELETE /v2/items/:id'];
const asking = ROUTES.filter(({ method, path }) => !TAKES_AWAY.includes(`${method} ${path}`));
const route = fc.oneof(fc.constantFrom(...asking), fc.constantFrom(...asking.filter(({ path }) => path in FIELDS)));

const bodyOf = (path: string) =>
  fc.oneof(
    {
      weight: 4,
      arbitrary: fc
        .dictionary(fc.constantFrom(...(FIELDS[path] ?? ['x'])), fc.oneof({ weight: 4, arbitrary: value }, fc.jsonValue()), { maxKeys: 2 })
        .map((object) => JSON.stringify(object)),
    },
    fc.json(),
    fc.constantFrom('', ' ', '{', '{"a":', 'a=b', '\ufeff{}', '[[[[', '"\\ud800"'),
  );
const request = route.chain((chosen) =>
  fc.record({
    route: fc.constant(chosen),
    parameter: value,
    query: fc.array(fc.tuple(fc.constantFrom(...PARAMETERS), value), { maxLength: 3 }),
    body: bodyOf(chosen.path),
    type: fc.oneof(
      { weight: 4, arbitrary: fc.constantFrom('application/json', 'application/json; charset=utf-8') },
      fc.constantFrom('text/plain', ''),
    ),
    language: fc.constantFrom('', 'fr', 'fr;q=x', ',,;;', 'fr-FR,fr;q=0.9,en;q=0.8'),
  }),
);

stories('any request', (story) => {
  story('is answered as documented', async (house) => {
    const app = await house.application();
    const { uuid, token: first } = await app.user();
    await addItem(house.storage, { id: 801, applicationId: app.id, userUuid: uuid });
    await addAccount(house.storage, { id: 8001, itemId: 801, userUuid: uuid });
    await addTransactions(house.storage, { accountId: 8001, userUuid: uuid }, [
      { id: 80_001, date: '2023-07-26' },
      { id: 80_002, date: '2023-07-25', updatedAt: START + 1 },
    ]);
    let token = first;
    let runs = 0;
    await fc.assert(
      fc.asyncProperty(request, async (asked) => {
        house.clock.advance(PAUSE_MS);
        runs += 1;
        if (runs % RUNS_PER_TOKEN === 0) {
          const authenticated = await app.send('POST', '/v2/authenticate', { user_uuid: uuid });
          token = ((await authenticated.json()) as { access_token: string }).access_token;
        }
        const path = asked.route.path.replace(/:\w+/, () => encodeURIComponent(asked.parameter.toWellFormed()));
        const parameters = new URLSearchParams(asked.query.map(([name, text]): [string, string] => [name, text.toWellFormed()]));
        const hasBody = asked.route.method !== 'GET';
        const response = await house.fetch(`${path}?${parameters}`, {
          method: asked.route.method,
          headers: {
            ...app.headers,
            Authorization: `Bearer ${token}`,
            ...(hasBody ? { 'Content-Type': asked.type } : {}),
            'Accept-Language': asked.language,
          },
          ...(hasBody ? { body: asked.body } : {}),
        });
        const text = await response.text();
        assert.ok(response.status < 500, `${asked.route.method} ${path}: ${text}`);
        if (response.status < 400) return;
        const { type, message } = JSON.parse(text) as { type: keyof typeof ERRORS; message: string };
        assert.equal(response.status, ERRORS[type].status);
        assert.ok(message.length > 0 && message.length < 300, message);
      }),
      { numRuns: RUNS },
    );
    assert.deepEqual(house.asked.failures, []);
  });
});
