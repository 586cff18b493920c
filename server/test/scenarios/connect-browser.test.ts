/** Pages in a real Chromium: Connect by keyboard alone, on the smallest phone, without JavaScript, with files; the inbox. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { createApplication } from '../../src/access/applications.ts';
import { createConnectSession, type NewConnectSession } from '../../src/access/connect-sessions.ts';
import { readConfig } from '../../src/config.ts';
import { inbox } from '../../src/http/admin/views/inbox.ts';
import { type RunningServer, startServer } from '../../src/server.ts';
import { sql } from '../../src/storage/sql.ts';
import { launchBrowser } from '../support/browser.ts';

const USER = '5d0c6d6e-6a6c-4c4f-8f5b-0d6a3f1d9b10';
/** The waiting pages must be there long enough to be looked at. */
const LATENCY_MS = 300;
/** Where pictures of the pages go, for people to look at; nowhere by default. */
const SCREENSHOTS = process.env.PONTAGE_TEST_SCREENSHOTS_DIR;
const SAMPLES = new URL('../../src/connectors/statements/fixtures/samples/', import.meta.url).pathname;
const SMALLEST = { width: 320, height: 640 };
const SIZES = [
  { width: 1200, height: 800 },
  { width: 375, height: 760 },
];

let browser: Browser;
let running: RunningServer;
let folder: string;
let applicationId: string;
/** The application that users come from and go back to. */
const receiver = createServer((_, response) =>
  response.setHeader('content-type', 'text/html').end('<title>Back</title><h1>Back in the application</h1>'),
);

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'pontage-browser-'));
  const read = readConfig({ PONTAGE_PORT: '0', PONTAGE_DATA_DIR: folder, PONTAGE_LOG_LEVEL: 'silent' }, 'development');
  assert.ok(read.ok);
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
  const redirectUrl = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/return`;
  [browser, running] = await Promise.all([launchBrowser(), startServer(read.config, { demoBankLatencyMs: LATENCY_MS })]);
  const { storage, clock } = running.services;
  applicationId = await storage.transaction(async (tx) => {
    const { id } = await createApplication(tx, { name: 'Exemple Budget', environment: 'sandbox', redirectUrl }, clock.now());
    await tx.run(sql`insert into users (uuid, application_id, created_at) values (${USER}, ${id}, ${clock.now()})`);
    return id;
  });
});

after(async () => {
  await browser?.close();
  await running?.stop();
  receiver.closeAllConnections();
  await new Promise((resolve) => receiver.close(resolve));
  rmSync(folder, { recursive: true, force: true });
});

async function link(session: Partial<NewConnectSession> = {}): Promise<string> {
  const { storage, clock } = running.services;
  const whole: NewConnectSession = { applicationId, userUuid: USER, purpose: 'add', language: 'en', context: 'a context', ...session };
  return `${running.localUrl}/connect/session/${await storage.transaction((tx) => createConnectSession(tx, whole, clock.now()))}`;
}

/** A page that collects what a browser complains of: console errors, refused resources, failed requests. */
async function open(options: BrowserContextOptions): Promise<{ page: Page; complaints: string[]; close(): Promise<void> }> {
  const context = await browser.newContext({ locale: 'en-GB', viewport: SIZES[0]!, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  const complaints: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('response', (response) => {
    if (response.status() >= 400) complaints.push(`${response.status()} ${response.url()}`);
  });
  return { page, complaints, close: () => context.close() };
}

/** What every page must be, at every size; and its pictures. */
async function inspect(page: Page, name: string): Promise<void> {
  assert.equal(await page.locator('h1').count(), 1, name);
  const size = page.viewportSize()!;
  await page.setViewportSize(SMALLEST);
  const overflow = await page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth');
  assert.equal(overflow, 0, `${name} is wider than ${SMALLEST.width} px`);
  const small = (await page.evaluate(`[...document.querySelectorAll('button, a.button, input:not([type=hidden])')]
    .filter((element) => element.getBoundingClientRect().height < 24).map((element) => element.outerHTML)`)) as string[];
  assert.deepEqual(small, [], `${name} has targets that a finger misses`);
  if (SCREENSHOTS) {
    for (const picture of SIZES) {
      await page.setViewportSize(picture);
      await page.screenshot({ path: join(SCREENSHOTS, `${name}-${picture.width}.png`), fullPage: true });
    }
  }
  await page.setViewportSize(size);
}

const heading = (page: Page, text: string) => page.getByRole('heading', { level: 1, name: text }).waitFor();

/** Moves the focus by Tab until it is on what is named so. */
async function tabTo(page: Page, name: RegExp): Promise<void> {
  for (let press = 0; press < 40; press += 1) {
    const focused = (await page.evaluate(
      `(() => { const e = document.activeElement; return (e.labels?.[0]?.textContent ?? e.textContent ?? '').trim(); })()`,
    )) as string;
    if (name.test(focused)) return;
    await page.keyboard.press('Tab');
  }
  assert.fail(`Tab never reaches ${name}`);
}

/** At once: each waits for its own bank most of the time. */
suite('Connect in a browser', { concurrency: true }, () => {
  test('by keyboard alone: search, choose, sign in, watch, and back to the application', async () => {
    const { page, complaints, close } = await open({});
    await page.goto(await link());
    await heading(page, 'Connect your bank');
    await inspect(page, 'start');
    await tabTo(page, /^Continue$/);
    await page.keyboard.press('Enter');
    await heading(page, 'Choose your bank');
    await inspect(page, 'banks');
    await tabTo(page, /^Search for a bank$/);
    await page.keyboard.type('demo');
    await page.keyboard.press('Enter');
    await page.getByText('1 bank for “demo”').waitFor();
    await inspect(page, 'banks-found');
    await tabTo(page, /^Demo bank/);
    await page.keyboard.press('Enter');
    await heading(page, 'Sign in to Demo bank');
    await inspect(page, 'credentials');
    await tabTo(page, /^Identifiant$/);
    await page.keyboard.type('success');
    await page.keyboard.press('Tab');
    await page.keyboard.type('any password');
    await page.keyboard.press('Enter');
    await heading(page, 'Connecting to Demo bank');
    await inspect(page, 'synchronizing');
    await heading(page, 'You are connected');
    await inspect(page, 'success');
    await tabTo(page, /^Continue to Exemple Budget$/);
    await page.keyboard.press('Enter');
    await heading(page, 'Back in the application');
    const back = new URL(page.url());
    assert.deepEqual([...back.searchParams.keys()], ['item_id', 'user_uuid', 'success', 'source', 'context']);
    assert.equal(back.searchParams.get('success'), 'true');
    assert.equal(back.searchParams.get('context'), 'a context');
    assert.deepEqual(complaints, []);
    await close();
  });

  test('without JavaScript, in French: a refusal corrected, a code, an approval', async () => {
    const { page, complaints, close } = await open({ javaScriptEnabled: false, locale: 'fr-FR' });
    await page.goto(await link());
    await page.locator('form[method=post] button').click();
    await page.getByRole('button', { name: /^Demo bank/ }).click();
    await page.getByLabel('Identifiant').fill('402_WRONG_PWD.otp_fail');
    await page.getByLabel('Mot de passe').fill('faux');
    await page.getByRole('button', { name: 'Ajouter votre compte' }).click();
    await page.getByText('n’a pas accepté ce mot de passe').waitFor();
    await page.getByLabel('Identifiant').fill('otp');
    await page.getByLabel('Mot de passe').fill('juste');
    await page.getByRole('button', { name: 'Ajouter votre compte' }).click();
    await page.getByLabel('Code reçu par SMS').fill('123456');
    await page.locator('form[method=post] button').click();
    await page.getByRole('link', { name: 'Exemple Budget' }).and(page.locator('.button')).waitFor();
    assert.equal(await page.locator('html').getAttribute('lang'), 'fr');
    assert.deepEqual(complaints, []);
    await close();
  });

  test('every other page fits a phone and breaks no policy', async () => {
    const { page, complaints, close } = await open({});
    const walk = async (login: string, name: string, options: { title: string; language?: 'fr' }) => {
      await page.context().clearCookies();
      await page.goto(`${await link({ bankId: 574 })}${options.language ? `?language=${options.language}` : ''}`);
      await page.locator('form[method=post] button').click();
      await page.locator('input[type=text]').fill(login);
      await page.locator('input[type=password]').fill('any');
      await page.locator('button.button-primary').click();
      await heading(page, options.title);
      if (name === 'credentials-wrong') await page.getByText('did not accept').waitFor();
      await inspect(page, name);
    };
    await walk('402', 'credentials-wrong', { title: 'Sign in to Demo bank' });
    await walk('1003', 'failure', { title: 'Demo bank could not be connected' });
    await walk('1005_CLOSED_ACCOUNT', 'failure-final', { title: 'Demo bank could not be connected' });
    await walk('app2app', 'approve', { title: 'Approve in your banking app' });
    await walk('otp', 'otp-fr', { title: 'Saisissez votre code', language: 'fr' });
    await walk('otp_fail', 'otp', { title: 'Enter your code' });
    await page.getByRole('textbox').fill('000000');
    await page.locator('button.button-primary').click();
    await page.getByText('This code was not accepted').waitFor();
    await inspect(page, 'otp-wrong');
    assert.deepEqual(complaints, []);

    await page.goto(`${running.localUrl}/connect/session/unknown`);
    await heading(page, 'This session has ended');
    await inspect(page, 'ended');
    const own = await link();
    await page.goto(own);
    await page.goto(`${own}/nothing`);
    await inspect(page, 'not-found');
    assert.ok(
      complaints.every((complaint) => /404/.test(complaint)),
      complaints.join('\n'),
    );
    await close();
  });

  test('statement files: one of the wrong kind is told by name, good ones are connected', async () => {
    const { page, complaints, close } = await open({ javaScriptEnabled: false });
    await page.goto(await link());
    await page.locator('form[method=post] button').click();
    await page.getByRole('button', { name: /^Statement files/ }).click();
    await heading(page, 'Upload your bank statements');
    await inspectStill(page, 'files');
    await page.locator('input[type=file]').setInputFiles([
      { name: 'holiday.jpg', mimeType: 'image/jpeg', buffer: Buffer.from([0xff, 0xd8, 0xff, 0xe0]) },
      { name: 'checking.ofx', mimeType: 'application/x-ofx', buffer: readFileSync(join(SAMPLES, 'ofx/checking.ofx')) },
    ]);
    await page.getByRole('button', { name: 'Add your account' }).click();
    await page.getByText('holiday.jpg').waitFor();
    await inspectStill(page, 'files-wrong');
    assert.deepEqual(
      complaints.splice(0).filter((complaint) => !complaint.includes('422')),
      [],
    );
    const items = await running.services.storage.all(sql`select id from items where bank_id = 9001`);
    assert.deepEqual(items, [], 'nothing is kept of an upload with a problem');
    await page.locator('input[type=file]').setInputFiles([join(SAMPLES, 'ofx/checking.ofx'), join(SAMPLES, 'camt/camt053.v4.xml')]);
    await page.getByRole('button', { name: 'Add your account' }).click();
    await heading(page, 'You are connected');
    await inspectStill(page, 'files-success');
    assert.deepEqual(complaints, []);
    await close();
  });
});

suite('The inbox in a browser', () => {
  test('fits the smallest phone, also with a raw webhook open', async () => {
    const { page, close } = await open({ viewport: SMALLEST });
    const type = 'item.refreshed';
    const content = { item_id: 4000001, user_uuid: USER, status_code: 0, status_code_info: 'OK', full_refresh: false };
    const headers = { 'bridgeapi-signature': `v1=${'E1'.repeat(32)}`, 'webhook-signature': `v1,${'a'.repeat(44)}` };
    const body = JSON.stringify({ content, timestamp: 1, type });
    const event = { id: 1, receivedAt: 1, verified: true, type, content, timestamp: 1, body, headers };
    const html = inbox({ applicationName: 'Sandbox', clientId: 'f'.repeat(32), clockAt: 1, csrf: 'token', events: [event] });
    await page.route('**/dashboard', (route) => route.fulfill({ contentType: 'text/html', body: String(html) }));
    await page.goto(`${running.localUrl}/dashboard`);
    await page.locator('summary').click();
    await page.locator('pre').waitFor();
    assert.equal(await page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth'), 0);
    await close();
  });
});

/** Pictures of a page in a browser that runs no scripts, ours neither. */
async function inspectStill(page: Page, name: string): Promise<void> {
  if (!SCREENSHOTS) return;
  for (const picture of SIZES) {
    await page.setViewportSize(picture);
    await page.screenshot({ path: join(SCREENSHOTS, `${name}-${picture.width}.png`), fullPage: true });
  }
}
