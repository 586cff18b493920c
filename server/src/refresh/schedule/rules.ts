/** The rules under which one item is refreshed: its bank's, and where the bank has none of its own, its application's. */
import { type Band, type BankAccess, DEFAULT_ACCESS, DEFAULT_BANDS } from '../../connectors/access.ts';

export type Rules = Omit<BankAccess, 'bands'> & { bands: readonly Band[]; unattended: boolean };

export const DAY_MINUTES = 24 * 60;
/** More bands than anybody has use for are a mistake. */
const BANDS_MAX = 8;

/** A bank that is not known is looked for again by the schedule: it may come back, and is not asked until then. */
export function rulesFor(
  bank: { access?: Partial<BankAccess>; unattended: boolean; input: 'credentials' | 'files' } | null,
  applicationBands: readonly Band[] | null,
): Rules {
  const access = { ...DEFAULT_ACCESS, ...bank?.access };
  // Files are brought by the user: there is no bank to spare.
  const free = bank?.input === 'files' ? { callsPerDay: null, loginsPerDay: null } : {};
  return { ...access, ...free, bands: access.bands ?? applicationBands ?? DEFAULT_BANDS, unattended: bank?.unattended ?? true };
}

/** Why these bands cannot be used, as the end of a sentence; null where they can. */
export function bandsFault(bands: readonly Band[]): string | null {
  if (bands.length < 1 || bands.length > BANDS_MAX) return `must be 1 to ${BANDS_MAX}`;
  const sorted = [...bands].sort((a, b) => a.fromMinute - b.fromMinute);
  for (const [index, { fromMinute, toMinute }] of sorted.entries()) {
    if (!isMinute(fromMinute) || !isMinute(toMinute) || fromMinute >= toMinute)
      return 'must each begin before they end, between 00:00 and 24:00 UTC';
    if (index > 0 && fromMinute < sorted[index - 1]!.toMinute) return 'must not overlap';
  }
  return null;
}

function isMinute(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= DAY_MINUTES;
}

/** As `applications.refresh_bands` keeps them; what cannot be used counts as not given. */
export function readBands(text: string | null): readonly Band[] | null {
  if (text === null) return null;
  try {
    const bands = (JSON.parse(text) as [number, number][]).map(([fromMinute, toMinute]) => ({ fromMinute, toMinute }));
    return bandsFault(bands) === null ? bands.sort((a, b) => a.fromMinute - b.fromMinute) : null;
  } catch {
    return null;
  }
}

export function writeBands(bands: readonly Band[]): string {
  return JSON.stringify(bands.map(({ fromMinute, toMinute }) => [fromMinute, toMinute]));
}
