/** What the login typed at the Demo Bank asks for (contract, section 7.1). The password never matters. */
import { DAY_MS } from '../../base/clock.ts';
import type { Authentication, AuthenticationRequest, Challenge, Failure, Json } from '../connector.ts';
import { statusOf } from '../statuses.ts';

type Outcome = 'success' | 'otp' | 'otp_fail' | 'app2app' | 'app2app_expiry' | Failure;

type ChallengeState = { challenge: 'otp' | 'otp_fail' | 'app2app' | 'app2app_expiry'; attempts: number };

const CODE_LIFETIME_MS = 5 * 60_000;
const APP_LIFETIME_MS = 5 * 60_000;
/** Short, so that a person who tries it out sees the end of it. */
const EXPIRING_APP_LIFETIME_MS = 20_000;
const APP_POLL_MS = 1_000;
/** The app approves by itself after this long, or after as many polls where the clock stands still. */
const APPROVED_AFTER_MS = 4_000;
const APPROVED_AFTER_POLLS = 4;
/** After as many wrong codes the bank ends the challenge; a new one may be begun. */
export const CODE_ATTEMPTS = 3;

const SCA_MISSING: Failure = { kind: 'failed', status: 1010, info: 'OTP_REQUIRED' };

/**
 * Logins joined by `.` are the outcomes of successive refreshes; the last one repeats. Anything unknown is a success,
 * and so are 0, -2 and -3, which no bank answers.
 */
export function outcomeOf(login: string, refreshIndex: number): Outcome {
  const steps = login.trim().split('.');
  const step = steps[Math.min(refreshIndex, steps.length - 1)] ?? '';
  switch (step.toLowerCase()) {
    case 'otp':
    case 'otp_fail':
    case 'app2app':
    case 'app2app_expiry':
      return step.toLowerCase() as Exclude<Outcome, Failure>;
    default:
      return failureOf(step) ?? 'success';
  }
}

/** What the item keeps once its user has passed a challenge: the consent under which it is refreshed unattended. */
const CONSENT = { consent: true };
/** As long as a strong authentication is good for under PSD2. */
export const CONSENT_DAYS = 180;

/** Unattended, `otp` and `app2app` succeed where a consent is kept, and end in 1010 where none is. Attended, each asks every time. */
export function answerLogin(request: AuthenticationRequest, session: Json): Authentication {
  if (request.answer) return answerChallenge(request, request.answer, session);
  const outcome = outcomeOf(request.credentials.USER ?? '', request.refreshIndex);
  if (typeof outcome !== 'string') return outcome;
  if (outcome === 'success') return { kind: 'authenticated', session };
  if (request.attended) return ask({ challenge: outcome, attempts: 0 });
  const consents = (outcome === 'otp' || outcome === 'app2app') && isConsent(request.kept, request.now);
  return consents ? { kind: 'authenticated', session } : SCA_MISSING;
}

function answerChallenge(request: AuthenticationRequest, answer: { state: Json; code: string | null }, session: Json): Authentication {
  const state = readState(answer.state);
  if (!state) return SCA_MISSING;
  const waitedMs = request.challengedAt === null ? 0 : request.now - request.challengedAt;
  const attempts = state.attempts + 1;
  switch (state.challenge) {
    case 'otp':
      if (waitedMs >= CODE_LIFETIME_MS) return SCA_MISSING;
      return hasCode(answer.code) ? consented(session, request.now) : ask(state);
    case 'otp_fail':
      if (waitedMs >= CODE_LIFETIME_MS) return SCA_MISSING;
      if (!hasCode(answer.code)) return ask(state);
      return attempts >= CODE_ATTEMPTS ? SCA_MISSING : { ...ask({ ...state, attempts }), wrongAnswer: true };
    case 'app2app':
      if (waitedMs >= APPROVED_AFTER_MS || attempts >= APPROVED_AFTER_POLLS) return consented(session, request.now);
      return ask({ ...state, attempts });
    case 'app2app_expiry': {
      const expired = waitedMs >= EXPIRING_APP_LIFETIME_MS || attempts * APP_POLL_MS >= EXPIRING_APP_LIFETIME_MS;
      return expired ? SCA_MISSING : ask({ ...state, attempts });
    }
    default:
      return state.challenge satisfies never;
  }
}

function consented(session: Json, now: number): Authentication {
  const until = now + CONSENT_DAYS * DAY_MS;
  return { kind: 'authenticated', session, keep: { ...CONSENT, until }, consentExpiresAt: until };
}

/** One without an end is older than the ends of consents. */
function isConsent(kept: Json, now: number): boolean {
  if (kept === null || typeof kept !== 'object' || Array.isArray(kept) || kept.consent !== true) return false;
  return typeof kept.until !== 'number' || now < kept.until;
}

function ask(state: ChallengeState): Authentication & { kind: 'challenge' } {
  return { kind: 'challenge', challenge: challengeOf(state), state };
}

function challengeOf(state: ChallengeState): Challenge {
  if (state.challenge === 'app2app' || state.challenge === 'app2app_expiry') {
    return {
      type: 'APP_TO_APP',
      label: "Validez la connexion dans l'application de votre banque",
      description: null,
      lifetimeMs: state.challenge === 'app2app' ? APP_LIFETIME_MS : EXPIRING_APP_LIFETIME_MS,
      pollMs: APP_POLL_MS,
    };
  }
  const left = CODE_ATTEMPTS - state.attempts;
  return {
    type: 'SMS',
    label: 'Code reçu par SMS',
    description: state.attempts === 0 ? null : `Code incorrect. Il vous reste ${left} essai${left > 1 ? 's' : ''}.`,
    isNumeric: true,
    lifetimeMs: CODE_LIFETIME_MS,
  };
}

function hasCode(code: string | null): boolean {
  return code !== null && code.trim() !== '';
}

const STATUS_LOGIN = /^(\d{3,4})(?:_([A-Za-z0-9_]+))?$/;

function failureOf(step: string): Failure | null {
  const match = STATUS_LOGIN.exec(step);
  const said = match && statusOf(Number(match[1]));
  if (!said) return null;
  return { kind: 'failed', status: said.status, info: match[2]?.toUpperCase() ?? said.info };
}

function readState(state: Json): ChallengeState | null {
  if (state === null || typeof state !== 'object' || Array.isArray(state)) return null;
  const { challenge, attempts } = state;
  if (challenge !== 'otp' && challenge !== 'otp_fail' && challenge !== 'app2app' && challenge !== 'app2app_expiry') return null;
  return typeof attempts === 'number' ? { challenge, attempts } : null;
}
