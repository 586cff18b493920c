/** The bank code inside an IBAN: where the IBAN registry of SWIFT puts the bank identifier of each country. */

/** Length of the bank identifier at the beginning of the BBAN. */
const BANK_CODE_LENGTH: Readonly<Record<string, number>> = {
  AD: 4,
  AT: 5,
  BE: 3,
  BG: 4,
  CH: 5,
  CY: 3,
  CZ: 4,
  DE: 8,
  DK: 4,
  EE: 2,
  ES: 4,
  FI: 3,
  FO: 4,
  FR: 5,
  GB: 4,
  GI: 4,
  GL: 4,
  GR: 3,
  HR: 7,
  HU: 3,
  IE: 4,
  LI: 5,
  LT: 5,
  LU: 3,
  LV: 4,
  MC: 5,
  MT: 4,
  NL: 4,
  NO: 4,
  PL: 3,
  PT: 4,
  RO: 4,
  SE: 3,
  SI: 5,
  SK: 4,
  VA: 3,
};
/** Italy and San Marino put one check letter before the bank's code (ABI). */
const BANK_CODE_AFTER_LETTER: Readonly<Record<string, number>> = { IT: 5, SM: 5 };

export function normaliseIban(text: string): string {
  return text.replace(/\s+/g, '').toUpperCase();
}

/** `FR:30003` for an IBAN of bank 30003; null for a country that we do not know, or what is no IBAN. */
export function bankCodeOf(iban: string): string | null {
  if (!/^[A-Z]{2}\d{2}[A-Z0-9]{8,30}$/.test(iban)) return null;
  const country = iban.slice(0, 2);
  const skipped = Object.hasOwn(BANK_CODE_AFTER_LETTER, country) ? 1 : 0;
  const length = BANK_CODE_LENGTH[country] ?? BANK_CODE_AFTER_LETTER[country];
  return length === undefined ? null : `${country}:${iban.slice(4 + skipped, 4 + skipped + length)}`;
}
