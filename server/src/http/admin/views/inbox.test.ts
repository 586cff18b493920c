import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type InboxEvent, inbox } from './inbox.ts';
import { eventSentence } from './sentences.ts';

const HOSTILE = `"><script>alert('x')</script>`;
const NOW = Date.UTC(2026, 0, 15, 9, 30);
const base = { applicationName: 'Sandbox', clientId: 'client', clockAt: NOW, csrf: 'token' };

function received(id: number, type: string, content: InboxEvent['content'], verified = true): InboxEvent {
  const body = JSON.stringify({ content, timestamp: NOW, type });
  return { id, receivedAt: NOW, verified, type, content, timestamp: NOW, body, headers: { 'bridgeapi-signature': 'v1=AB' } };
}

test('says what happened, one sentence per kind', () => {
  const account = { account_id: 22908770, balance: 1678.12, item_id: 4568477 };
  const counts = { nb_new_transactions: 15, nb_updated_transactions: 0, nb_deleted_transactions: 0 };
  assert.equal(
    eventSentence('item.account.updated', { ...account, ...counts }),
    'Account 22908770: 15 new, 0 updated, 0 deleted; balance 1\u202f678.12',
  );
  assert.match(eventSentence('item.created', account), /Item 4568477/);
  assert.match(eventSentence('item.account.created', { ...account, balance: -1234567.5 }), /−1\u202f234\u202f567\.50$/);
  assert.match(eventSentence('item.account.created', { ...account, balance: 0.12345 }), /0\.12345$/);
  assert.match(eventSentence('item.account.created', { ...account, balance: 100 }), /balance 100\.00$/);
  assert.match(eventSentence('item.account.deleted', account), /no longer/);
  assert.match(
    eventSentence('item.refreshed', { item_id: 1, status_code: 0, status_code_info: 'OK', full_refresh: true }),
    /0 OK, full history/,
  );
  assert.match(eventSentence('something.new', {}), /something\.new/);
  assert.match(eventSentence('item.account.updated', { nb_new_transactions: {} }), /\?/);
});

test('an empty inbox says so, and nothing is ticked', () => {
  const page = String(inbox({ ...base, events: [] }));
  assert.match(page, /0 of 5 kinds seen/);
  assert.match(page, /<p class="empty" id="empty">/);
  assert.doesNotMatch(page, /undefined|\[object/);
});

test('events stand in the page without JavaScript, and count the kinds', () => {
  const events = [received(3, 'item.refreshed', {}), received(2, 'item.refreshed', {}), received(1, 'item.created', {}, false)];
  const page = String(inbox({ ...base, events, kindsSeen: ['item.account.deleted', 'TEST_EVENT'] }));
  assert.match(page, /3 of 5 kinds seen/);
  assert.match(page, /id="empty" hidden/);
  assert.deepEqual(
    [...page.matchAll(/data-event-id="(\d)"/g)].map((match) => match[1]),
    ['3', '2', '1'],
  );
  assert.equal(page.match(/Signature NOT verified/g)?.length, 1);
});

test('posts the clock and the connection as plain forms with csrf', () => {
  const page = String(inbox({ ...base, events: [] }));
  assert.match(page, /action="\/dashboard\/clock"/);
  assert.match(page, /name="days" value="1">Advance a day</);
  assert.match(page, /name="days" value="7">Advance a week</);
  assert.match(page, /action="\/dashboard\/connect"/);
  assert.equal(page.match(/name="csrf" value="token"/g)?.length, 2);
});

test('escapes what comes from outside and needs no inline script or style', () => {
  const hostile = {
    ...received(1, HOSTILE, { item_id: HOSTILE }),
    id: HOSTILE,
    body: HOSTILE,
    headers: { [HOSTILE]: HOSTILE },
  };
  const accounts = received(2, 'item.account.created', { item_id: HOSTILE, account_id: HOSTILE });
  const page = String(inbox({ applicationName: HOSTILE, clientId: HOSTILE, clockAt: NOW, csrf: HOSTILE, events: [hostile, accounts] }));
  assert.doesNotMatch(page.replace('<script src="/static/dashboard.js" defer></script>', ''), /<script|<style|\sstyle=|\son[a-z]+=/i);
  assert.ok(!page.includes("alert('"));
});
