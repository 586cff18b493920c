/** How long a receiver asks to be left alone. Pure. */
import { HOUR_MS, SECOND_MS } from '../../base/clock.ts';

/** Longer wishes are cut: a receiver that is back earlier should not wait a day for its events. */
export const RETRY_AFTER_MAX_MS = 6 * HOUR_MS;
/** Only these two are about time (RFC 6585, RFC 9110); elsewhere the header is ignored. */
const STATUSES = new Set([429, 503]);

const SECONDS = /^\d{1,15}$/;
const DAY = '(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)';
const MONTH = '(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)';
const TIME = '\\d{2}:\\d{2}:\\d{2}';
/** The form in use, and the two that RFC 9110 still asks recipients to read; the last one names no zone and means GMT. */
const DATE = new RegExp(`^${DAY}, \\d{2} ${MONTH} \\d{4} ${TIME} GMT$`);
const RFC_850_DATE = new RegExp(`^(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, \\d{2}-${MONTH}-\\d{2} ${TIME} GMT$`);
const ASCTIME_DATE = new RegExp(`^${DAY} ${MONTH} [ \\d]\\d ${TIME} \\d{4}$`);

/**
 * Milliseconds from `now` (epoch ms of the real clock), between 1 and {@link RETRY_AFTER_MAX_MS}. Null where the answer is
 * an ordinary failure: another status, no header, several, a time that is past, or one that cannot be read.
 */
export function retryAfterMs(status: number, header: string | readonly string[] | undefined, now: number): number | null {
  if (!STATUSES.has(status) || typeof header !== 'string') return null;
  const text = header.trim();
  let ms = Number.NaN;
  if (SECONDS.test(text)) ms = Number(text) * SECOND_MS;
  else if (DATE.test(text) || RFC_850_DATE.test(text)) ms = Date.parse(text) - now;
  else if (ASCTIME_DATE.test(text)) ms = Date.parse(`${text} GMT`) - now;
  return ms > 0 ? Math.min(ms, RETRY_AFTER_MAX_MS) : null;
}
