import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { exampleEvent, signedRequest } from './index.ts';

const SECRET = 'whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=';
const EXAMPLE = fileURLToPath(new URL('../example/receiver.mjs', import.meta.url));

test('the receiver of the README is the one that is tested', () => {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
  assert.ok(readme.includes(`\`\`\`js\n${readFileSync(EXAMPLE, 'utf8').trimEnd()}\n\`\`\``));
});

test('the receiver accepts a signed request and refuses a changed one', async (context) => {
  const receiver = spawn(process.execPath, [EXAMPLE], {
    env: { ...process.env, PORT: '0', WEBHOOK_SECRET: SECRET },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  context.after(() => receiver.kill());
  const lines = createInterface({ input: receiver.stdout })[Symbol.asyncIterator]();
  const port = /^listening on (\d+)$/.exec((await lines.next()).value ?? '')?.[1];
  const url = `http://127.0.0.1:${port}/`;
  const request = signedRequest({ event: exampleEvent('item.refreshed'), secret: SECRET });
  assert.equal((await fetch(url, request)).status, 200);
  assert.match((await lines.next()).value ?? '', /^item\.refreshed/);
  assert.equal((await fetch(url, { ...request, body: request.body.replace('false', 'true') })).status, 400);
});
