/** When items are refreshed without anybody asking, and when asking makes sense. */
import { z } from 'zod';
import { isoTimestamp } from '../../base/clock.ts';
import { Refusal } from '../../base/errors.ts';
import { type Band, DEFAULT_BANDS } from '../../connectors/access.ts';
import {
  type AccountQuota,
  bandsOfApplication,
  type ItemSchedule,
  readItemSchedule,
  readTimeOfDay,
  setBandsOfApplication,
  writeTimeOfDay,
} from '../../refresh/schedule/read.ts';
import { bandsFault } from '../../refresh/schedule/rules.ts';
import { pathId, readBody } from '../edge/requests.ts';
import { json } from '../edge/responses.ts';
import type { Call, Route } from './calls.ts';

const moment = (at: number | null) => (at === null ? null : isoTimestamp(at));
const showBands = (bands: readonly Band[]) =>
  bands.map(({ fromMinute, toMinute }) => ({ from: writeTimeOfDay(fromMinute), to: writeTimeOfDay(toMinute) }));

async function ofItem({ c, services, application, realNow }: Call): Promise<Response> {
  const schedule = await readItemSchedule(services, application.id, pathId(c), realNow);
  if (!schedule) throw new Refusal('not_found');
  return json(showSchedule(schedule));
}

function showSchedule(schedule: ItemSchedule): object {
  const { rules, consent, bankSuspended } = schedule;
  return {
    item_id: schedule.itemId,
    next_refresh_at: moment(schedule.nextRefreshAt),
    next_refresh_possible_at: moment(schedule.nextRefreshPossibleAt),
    refreshes_per_day: schedule.refreshesPerDay,
    bands: showBands(rules.bands),
    failures_in_a_row: schedule.failuresInARow,
    credentials_refused: schedule.credentialsRefused,
    bank_suspended: bankSuspended && { since: moment(bankSuspended.since), probe_at: moment(bankSuspended.probeAt) },
    consent: consent && { expires_at: moment(consent.expiresAt), days_left: consent.daysLeft, notice_days: consent.noticeDays },
    logins: { in_24h: schedule.loginsIn24h, limit: rules.loginsPerDay },
    bank_calls: schedule.quotas && { per_day: rules.callsPerDay, accounts: schedule.quotas.map(showQuota) },
  };
}

function showQuota({ accountId, left, freeAt }: AccountQuota): object {
  return {
    account_id: accountId,
    balances: { left: left.balances.request, left_for_scheduler: left.balances.scheduler },
    transactions: { left: left.transactions.request, left_for_scheduler: left.transactions.scheduler },
    possible_at: moment(freeAt),
  };
}

async function bands({ services, application }: Call): Promise<Response> {
  const own = await bandsOfApplication(services.storage, application.id);
  return json({ bands: showBands(own ?? DEFAULT_BANDS), is_default: own === null });
}

const time = z.string().transform((text, context): number => {
  const minute = readTimeOfDay(text);
  if (minute !== null) return minute;
  context.addIssue({ code: 'custom', message: 'must be a time of the day in UTC, such as 04:30' });
  return z.NEVER;
});
const bandsBody = z.strictObject({ bands: z.array(z.strictObject({ from: time, to: time })).nullable() });

async function setBands(call: Call): Promise<Response> {
  const { c, services, application } = call;
  const body = await readBody(c, bandsBody);
  const wanted = body.bands?.map(({ from, to }) => ({ fromMinute: from, toMinute: to })) ?? null;
  const fault = wanted && bandsFault(wanted);
  if (fault) throw new Refusal('bad_request', `bands: ${fault}`);
  await services.storage.transaction((tx) => setBandsOfApplication(tx, application.id, wanted));
  return bands(call);
}

export const scheduleRoutes: readonly Route[] = [
  { method: 'GET', path: '/api/v1/items/:id/schedule', answer: ofItem },
  { method: 'GET', path: '/api/v1/schedule', answer: bands },
  { method: 'PATCH', path: '/api/v1/schedule', answer: setBands },
];
