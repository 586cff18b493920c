/** IBANs of banks that do not exist, with check digits that are right: programs that validate them must accept them. */
import { drawsFor } from './draws.ts';

/** No French bank has a code that begins with 99. */
const FRENCH_BANK_CODE = '99574';
const FRENCH_BRANCH_CODE = '00001';
const BRITISH_BANK_AND_SORT_CODE = 'DEMO990574';

/** `index` (0 to 99) keeps the accounts of one seed apart, whatever the draws say. */
export function frenchIban(seed: string, index: number): string {
  const draws = drawsFor(seed, 'rib', index);
  const account = `${digits(draws.between(0, 9999), 4)}${digits(draws.between(0, 99999), 5)}${digits(index, 2)}`;
  const key = 97n - ((89n * BigInt(FRENCH_BANK_CODE) + 15n * BigInt(FRENCH_BRANCH_CODE) + 3n * BigInt(account)) % 97n);
  return withCheckDigits('FR', `${FRENCH_BANK_CODE}${FRENCH_BRANCH_CODE}${account}${digits(Number(key), 2)}`);
}

export function britishIban(seed: string, index: number): string {
  const draws = drawsFor(seed, 'sort code', index);
  return withCheckDigits(
    'GB',
    `${BRITISH_BANK_AND_SORT_CODE}${digits(draws.between(0, 9999), 4)}${digits(draws.between(0, 99), 2)}${digits(index, 2)}`,
  );
}

/** ISO 7064 mod 97-10 of an IBAN, which is 1 for a valid one. */
export function ibanRemainder(iban: string): number {
  const rearranged = iban.slice(4) + iban.slice(0, 4);
  const numeric = [...rearranged].map((character) => Number.parseInt(character, 36)).join('');
  return Number(BigInt(numeric) % 97n);
}

function withCheckDigits(country: string, rest: string): string {
  return `${country}${digits(98 - ibanRemainder(`${country}00${rest}`), 2)}${rest}`;
}

function digits(value: number, length: number): string {
  return String(value).padStart(length, '0');
}
