/** A refresh in sentences that an operator understands: what was asked, what came, what was counted, and what was left and why. Pure. */
import { isoTimestamp } from '../base/clock.ts';
import type { PastRefresh } from '../items/refresh-history.ts';
import type { KeptChange } from '../transactions/changes.ts';
import type { HoldReason } from './detection/types.ts';
import type { AccountNote, RefreshRecord } from './record.ts';
import type { SparedFor } from './schedule/decide.ts';

/** Null while the refresh runs, and for one of a version that kept no such record. */
export function recordOf(refresh: Pick<PastRefresh, 'record'>): RefreshRecord | null {
  if (refresh.record === null) return null;
  const record = JSON.parse(refresh.record) as Partial<RefreshRecord>;
  return record.calls === undefined || record.accounts === undefined ? null : (record as RefreshRecord);
}

const CAUSES: Readonly<Record<PastRefresh['cause'], string>> = {
  connect: 'asked by the user in Connect',
  completion: 'the full history after a first connection',
  api: 'asked through the API',
  scheduler: 'due by the schedule',
};
const PHASES: Readonly<Record<PastRefresh['phase'], string>> = {
  recent: 'the last 30 days first',
  full: 'the whole history',
  incremental: 'what may have changed since the last one',
};

/** The refresh as a whole. */
export function explainRefresh(refresh: PastRefresh): string[] {
  const record = recordOf(refresh);
  const sentences = [`Refresh of item ${refresh.itemId}: ${CAUSES[refresh.cause]}; it asked for ${PHASES[refresh.phase]}.`];
  if (refresh.finishedAt === null) return [...sentences, `It began at ${isoTimestamp(refresh.startedAt)} and has not ended.`];
  const calls = record === null ? '' : `, with ${counted(record.calls, 'call')} to the bank`;
  sentences.push(`It began at ${isoTimestamp(refresh.startedAt)} and ended${calls}: ${outcome(refresh)}.`);
  if (record === null) return sentences;
  const { list } = record;
  if (list === null) return [...sentences, 'The bank did not come as far as its list of accounts, so no account was looked at.'];
  sentences.push(
    `The bank listed ${counted(list.accounts, 'account')}${list.complete ? '' : ', and did not vouch that the list is complete'}.`,
  );
  if (list.anomaly?.kind === 'no_accounts')
    sentences.push('A list without any account is more likely a failure of the bank: nothing was concluded from it.');
  if (list.anomaly?.kind === 'accounts_lost')
    sentences.push(
      `The list lacked ${list.anomaly.lost} of ${list.anomaly.known} known accounts, more than anyone closes at once: nothing was concluded from it.`,
    );
  return sentences;
}

function outcome({ status, statusCodeInfo, fullRefresh }: PastRefresh): string {
  const code = `status ${status ?? '?'}${statusCodeInfo === null ? '' : ` (${statusCodeInfo})`}`;
  return fullRefresh ? `${code}, and the whole history of every account is there` : code;
}

/** One account of it; `list` is what the record of the refresh says of the bank's list. */
export function explainAccount(note: AccountNote, list: RefreshRecord['list']): string[] {
  const name = `Account ${note.account_id}`;
  if (note.absent !== null) {
    const until =
      list?.anomaly?.kind === 'accounts_lost'
        ? 'with so many missing at once it is kept until four lists, over almost three days, lack it'
        : 'it is kept until a second list, most of a day later, lacks it too';
    const times = `${counted(note.absent.lists, 'complete list')} in a row, since ${isoTimestamp(note.absent.since)}`;
    return [
      note.absent.deleted
        ? `${name} is deleted: it was absent from ${times}. Its transactions stay readable and are not counted as deleted.`
        : `${name} was not in the list (absent from ${times}): ${until}.`,
    ];
  }
  const sentences = [`${name} (${MATCHED[note.matched_by]}).`];
  if (note.answered === null) return sentences;
  if ('failed' in note.answered) {
    const info = note.answered.info === null ? '' : `, ${note.answered.info}`;
    return [...sentences, `The bank failed at this account (status ${note.answered.failed}${info}): its rows are as they were.`];
  }
  if ('spared' in note.answered)
    // Records of older versions know one reason only.
    return [...sentences, `It was not asked for: ${SPARED[note.answered.because ?? 'quota']}. Its rows are as they were.`];
  sentences.push(answered(note, note.answered));
  if (note.same_as !== null)
    return [
      ...sentences,
      `The answer was the same as in ${note.same_as}, where every row was compared and nothing was new: nothing is new.`,
    ];
  sentences.push(
    `Counted: ${note.new} new, ${note.updated} updated${note.resurrected > 0 ? ` (${note.resurrected} of them came back from deletion)` : ''}, ${note.deleted} deleted.`,
  );
  sentences.push(...kept(note), ...balance(note));
  return sentences;
}

const SPARED: Readonly<Record<SparedFor, string>> = {
  quota: 'the quota of calls to the bank for it is spent',
  wish: 'the bank had failed at it and wished to be left in peace',
  answered: 'it had answered last time, and only those that failed then were tried again',
};

const MATCHED: Readonly<Record<AccountNote['matched_by'], string>> = {
  identity: "known by the bank's id",
  iban: 'known by its IBAN',
  national_number: 'known by its national number',
  name: 'known by its type, currency and name',
  new: 'new',
  not_listed: 'not listed',
};

function answered({ asked }: AccountNote, answer: Extract<AccountNote['answered'], { rows: object }>): string {
  const { booked, pending, scheduled } = answer.rows;
  const from = asked?.from ? ` from ${asked.from} on` : asked ? ' in full' : '';
  const windows = answer.coverage.flatMap((coverage) => coverage.windows.map((window) => `${window.from} to ${window.to}`));
  const lacking = (['booked', 'pending', 'scheduled'] as const).filter((list) =>
    answer.coverage.some((coverage) => !coverage[`${list}Complete`]),
  );
  const vouched = lacking.length === 0 ? 'complete' : `not complete for ${lacking.join(' and ')} rows`;
  const cut = answer.coverage.some(({ edgeExclusive }) => edgeExclusive)
    ? '; the bank cut it by count, so its oldest day may be partial'
    : '';
  return `Asked${from}; the bank gave ${booked} booked, ${pending} pending and ${scheduled} scheduled rows for ${windows.join(', ') || 'no dates'}, ${vouched}${cut}.`;
}

const HELD: Readonly<Record<HoldReason, string>> = {
  first_absence: 'missing for the first time, and kept until a second list, hours later, lacks them too',
  absence_too_soon: 'missing again, but too soon after the last look to be sure',
  mass_deletion:
    'missing with so many others that the bank is more likely wrong: kept until a second full refresh, or the operator, agrees',
};

/** Why nothing was deleted where something was missing. */
function kept({ account_id: accountId, held, not_shown: notShown, breaker, anomalies, ids }: AccountNote): string[] {
  const sentences = (Object.entries(held) as [HoldReason, number][]).map(
    ([reason, rows]) => `Held: ${counted(rows, 'booked row')} ${HELD[reason]}.`,
  );
  if (notShown.outside_window > 0)
    sentences.push(`Left alone: ${counted(notShown.outside_window, 'stored row')} outside the dates that the bank answered for.`);
  if (notShown.not_vouched > 0)
    sentences.push(
      `Left alone: ${counted(notShown.not_vouched, 'stored row')} that the answer lacks, in a list that it does not vouch for.`,
    );
  if (breaker > 0)
    sentences.push(
      `The breaker holds the deletion of ${counted(breaker, 'row')}; the next refresh asks for everything.`,
      `Where the bank is right, let it delete what it finds: npx pontage account release ${accountId}`,
    );
  for (const anomaly of anomalies) {
    if (anomaly?.kind === 'relabelling')
      sentences.push(`The bank renamed its rows at large: ${anomaly.rows} were paired by amount and date.`);
    if (anomaly?.kind === 'crowded')
      sentences.push(
        `${anomaly.stored} stored and ${anomaly.fetched} fetched rows were too much alike to compare their labels: none was guessed.`,
      );
  }
  if (ids.conflicts > 0)
    sentences.push(`${counted(ids.conflicts, 'equal id')} of the bank refused, because the rows contradict each other.`);
  return sentences;
}

function balance({ balance: { before, after, explained } }: AccountNote): string[] {
  if (after === null) return ['The bank gave no balance.'];
  if (before === null) return [`The balance became known: ${after.amount} ${after.currency_code}.`];
  if (before.currency_code !== after.currency_code)
    return [
      `The balance is in another currency: it was ${before.amount} ${before.currency_code}, and is ${after.amount} ${after.currency_code}.`,
    ];
  if (before.amount === after.amount && before.kind === after.kind) return [`The balance stayed ${after.amount} ${after.currency_code}.`];
  const moved = `The balance went from ${before.amount} to ${after.amount} ${after.currency_code}`;
  return [explained ? `${moved}, by the sum of the changes.` : `${moved}, and the changes do not sum up to that.`];
}

/** One counted row, without its label: labels are personal, and an operator's terminal is a log. */
export function explainChange({ transactionId, kind, stage, evidence, before, after }: KeptChange): string {
  const row = after ?? before;
  const what = row === null ? '' : `, ${row.status} ${row.amount} ${row.currency_code} of ${row.date}`;
  return `${transactionId} ${kind}${what}: ${why(kind, stage, evidence)}${difference(before, after)}`;
}

const CAUSES_OF_ROWS: Readonly<Record<string, string>> = {
  nothing_alike: 'no stored row is left that it could be',
  amount_changed: "another amount under the bank's stable id: the old row is deleted, a new one takes the id",
  id_contradicted: 'a row has its id, but is another payment by its amount, date, status or label',
  ambiguous: 'it could be more than one stored row, and none is guessed',
  recreated: 'a hold booked, and the application wants a new row for it',
  pending_gone: 'the complete list of pending rows no longer holds it',
  missing_confirmed: 'two lists, hours apart, did not hold it',
  balance_agrees: 'the balance moved by exactly the removal of the missing rows',
  absence_final: 'the source vouches that what it lacks is gone',
  correction: 'the source says that the row is void',
  mass_deletion_confirmed: 'a mass deletion that a second refresh, or the operator, confirmed',
};

const STAGES: Readonly<Record<string, string>> = {
  correction: 'the source says that it replaces the row',
  link: 'the bank names the pending row that it replaces',
  id: 'the same id of the bank',
  content: 'the same status, amount, date and label',
  date_moved: 'the same amount and label on another day',
  label_drifted: 'the same amount about the same day under another label',
  amount_at_booking: 'the only pending row that could have booked with this amount',
  returned: 'the same content as a row that was deleted',
  relabelled: 'the bank renamed its rows at large; amount and date agree',
};

function why(kind: KeptChange['kind'], stage: string, evidence: KeptChange['evidence']): string {
  if (kind === 'new' || kind === 'deleted') return CAUSES_OF_ROWS[String(evidence.cause)] ?? String(evidence.cause);
  const days = Number(evidence.days ?? 0);
  const likeness = typeof evidence.similarity === 'number' ? `, labels ${Math.round(evidence.similarity * 100)} % alike` : '';
  return `${STAGES[stage] ?? stage}${days === 0 ? '' : `, ${Math.abs(days)} ${Math.abs(days) === 1 ? 'day' : 'days'} ${days > 0 ? 'later' : 'earlier'}`}${likeness}`;
}

const SHOWN = {
  status: 'status',
  amount: 'amount',
  date: 'date',
  booking_date: 'booking date',
  value_date: 'value date',
  transaction_date: 'transaction date',
} as const;

function difference(before: KeptChange['before'], after: KeptChange['after']): string {
  if (before === null || after === null) return '';
  const changed = (Object.keys(SHOWN) as (keyof typeof SHOWN)[])
    .filter((field) => before[field] !== after[field])
    .map((field) => `${SHOWN[field]} ${before[field] ?? 'none'} -> ${after[field] ?? 'none'}`);
  if (before.bank_description !== after.bank_description) changed.push('label changed');
  return changed.length === 0 ? '' : ` (${changed.join(', ')})`;
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
