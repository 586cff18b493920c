import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Authentication, AuthenticationRequest, Challenge, Json } from '../connector.ts';
import { demoBank } from './demo-bank.ts';
import { CODE_ATTEMPTS } from './logins.ts';

const NOW = Date.UTC(2026, 2, 10, 9);
const bank = demoBank();

function login(user: string, changes: Partial<AuthenticationRequest> = {}): Promise<Authentication> {
  const request = {
    itemId: 7,
    credentials: { USER: user, PWD: 'anything' },
    attended: true,
    answer: null,
    refreshIndex: 0,
    connectedAt: NOW,
    now: NOW,
    challengedAt: null,
    kept: null,
    ...changes,
  };
  return bank.authenticate(request, AbortSignal.any([]));
}

async function challenged(user: string): Promise<{ state: Json; challenge: Challenge }> {
  const answer = await login(user);
  assert.ok(answer.kind === 'challenge', user);
  return answer;
}

test('any login that means nothing special succeeds', async () => {
  for (const user of ['success', 'john', '', '0', 'john@doe.com', '404']) assert.equal((await login(user)).kind, 'authenticated', user);
});

test('a status is answered with its default info, or with the one that was chosen', async () => {
  const failed = (status: number, info: string | null) => ({ kind: 'failed', status, info });
  assert.deepEqual(await login('402'), failed(402, 'INVALID_CREDS'));
  assert.deepEqual(await login('429'), failed(429, 'SMTH_TO_VALIDATE'));
  assert.deepEqual(await login('1003'), failed(1003, 'CNT_CRASH'));
  assert.deepEqual(await login('1010'), failed(1010, 'OTP_REQUIRED'));
  assert.deepEqual(await login('1005'), failed(1005, null));
  assert.deepEqual(await login('1005_CLOSED_ACCOUNT'), failed(1005, 'CLOSED_ACCOUNT'));
  assert.deepEqual(await login('402_wrong_pwd'), failed(402, 'WRONG_PWD'));
});

test('joined logins are the outcomes of successive refreshes, and the last one repeats', async () => {
  const kinds = [];
  for (const refreshIndex of [0, 1, 2]) {
    const answer = await login('success.1010', { refreshIndex, attended: refreshIndex === 0 });
    kinds.push(answer.kind === 'failed' ? answer.status : answer.kind);
  }
  assert.deepEqual(kinds, ['authenticated', 1010, 1010]);
});

test('otp: any code is right, no code asks again', async () => {
  const { state, challenge } = await challenged('otp');
  assert.ok(challenge.type === 'SMS' && challenge.isNumeric);
  const answered = (code: string | null, now = NOW) => login('otp', { answer: { state, code }, challengedAt: NOW, now });
  assert.equal((await answered('000000')).kind, 'authenticated');
  assert.equal((await answered(null)).kind, 'challenge');
  assert.deepEqual(await answered('1', NOW + challenge.lifetimeMs), { kind: 'failed', status: 1010, info: 'OTP_REQUIRED' });
});

test('otp_fail: every code is wrong, and the bank counts down', async () => {
  let { state } = await challenged('otp_fail');
  for (let attempt = 1; attempt < CODE_ATTEMPTS; attempt += 1) {
    const again = await login('otp_fail', { answer: { state, code: '123' }, challengedAt: NOW });
    assert.ok(again.kind === 'challenge' && again.wrongAnswer);
    assert.match(again.challenge.type === 'SMS' ? (again.challenge.description ?? '') : '', new RegExp(`${CODE_ATTEMPTS - attempt} essai`));
    state = again.state;
  }
  const last = await login('otp_fail', { answer: { state, code: '123' }, challengedAt: NOW });
  assert.deepEqual(last, { kind: 'failed', status: 1010, info: 'OTP_REQUIRED' });
});

test('app2app: approved after a few seconds, or after a few polls when the clock stands still', async () => {
  const { state } = await challenged('app2app');
  const polled = (now: number) => login('app2app', { answer: { state, code: null }, challengedAt: NOW, now });
  assert.equal((await polled(NOW + 1_000)).kind, 'challenge');
  assert.equal((await polled(NOW + 4_000)).kind, 'authenticated');
  assert.equal((await poll('app2app', 10)).kind, 'authenticated');
});

test('app2app_expiry: never approved', async () => {
  assert.deepEqual(await poll('app2app_expiry', 100), { kind: 'failed', status: 1010, info: 'OTP_REQUIRED' });
});

/** Polls with a clock that stands still, until the challenge ends. */
async function poll(user: string, most: number): Promise<Authentication> {
  let answer: Authentication = await login(user);
  for (let count = 0; count < most && answer.kind === 'challenge'; count += 1) {
    answer = await login(user, { answer: { state: answer.state, code: null }, challengedAt: NOW });
  }
  return answer;
}

test('unattended, a consent given at the connection still holds; one never given does not', async () => {
  const later = (user: string, kept: Json) => login(user, { attended: false, refreshIndex: 1, kept });
  for (const user of ['otp', 'app2app']) {
    const { state } = await challenged(user);
    const approved = await login(user, { answer: { state, code: '123456' }, challengedAt: NOW, now: NOW + 10_000 });
    assert.ok(approved.kind === 'authenticated' && approved.keep !== undefined);
    assert.equal((await later(user, approved.keep)).kind, 'authenticated');
    assert.equal((await later(user, null)).kind, 'failed');
  }
  for (const user of ['otp_fail', 'app2app_expiry']) assert.equal((await later(user, null)).kind, 'failed');
});
