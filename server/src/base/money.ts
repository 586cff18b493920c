/**
 * Money: an integer count of the smallest unit, with its exponent and its currency. Never a float.
 *
 * The form is canonical: `exponent` is the currency's own (EUR 2, JPY 0, KWD 3), or larger only when the
 * source gave more significant decimals (at most {@link MAX_EXPONENT}). Two equal amounts therefore always
 * have equal fields, and equality is a comparison of the three.
 */
export type Money = { readonly minor: number; readonly exponent: number; readonly currency: string };

/** Statement files carry up to five decimals (ISO 20022 `ActiveOrHistoricCurrencyAndAmount`). */
export const MAX_EXPONENT = 5;

const EXPONENTS: Record<string, number> = {
  BIF: 0,
  CLP: 0,
  DJF: 0,
  GNF: 0,
  ISK: 0,
  JPY: 0,
  KMF: 0,
  KRW: 0,
  PYG: 0,
  RWF: 0,
  UGX: 0,
  UYI: 0,
  VND: 0,
  VUV: 0,
  XAF: 0,
  XOF: 0,
  XPF: 0,
  BHD: 3,
  IQD: 3,
  JOD: 3,
  KWD: 3,
  LYD: 3,
  OMR: 3,
  TND: 3,
  CLF: 4,
  UYW: 4,
};

/** Decimals of a currency's smallest unit (ISO 4217); 2 for one we do not know. */
export function currencyExponent(currency: string): number {
  return EXPONENTS[currency] ?? 2;
}

/** Brings (minor, exponent) to the canonical form of {@link Money}. */
export function money(minor: number, exponent: number, currency: string): Money {
  const floor = currencyExponent(currency);
  let value = minor;
  let decimals = exponent;
  while (decimals > floor && value % 10 === 0) {
    value /= 10;
    decimals -= 1;
  }
  while (decimals < floor) {
    value *= 10;
    decimals += 1;
  }
  if (!Number.isSafeInteger(value)) throw new RangeError(`amount ${minor}e-${exponent} ${currency} is beyond 2^53`);
  return { minor: value === 0 ? 0 : value, exponent: decimals, currency };
}

const DECIMAL = /^([+-]?)(\d+)(?:\.(\d*))?$|^([+-]?)\.(\d+)$/;

/**
 * Reads a decimal number as it stands in a file or an answer of a bank: `1234.5`, `-0.00`, `1 234,56`, `+00115.8331`.
 * A comma is a decimal point; spaces of any kind group digits. Returns null for anything else, for more than
 * {@link MAX_EXPONENT} significant decimals, and beyond 2^53.
 */
export function parseDecimal(text: string, currency: string): Money | null {
  const match = DECIMAL.exec(text.replace(/[\s\u00a0\u202f']/g, '').replace(',', '.'));
  if (!match) return null;
  const negative = (match[1] ?? match[4]) === '-';
  const whole = match[2] ?? '0';
  const fraction = (match[3] ?? match[5] ?? '').replace(/0+$/, '');
  if (fraction.length > MAX_EXPONENT) return null;
  const minor = Number(whole + fraction);
  if (!Number.isSafeInteger(minor)) return null;
  try {
    return money(negative ? -minor : minor, fraction.length, currency);
  } catch {
    return null;
  }
}

/** The JSON number of the wire: -5000 with exponent 2 is -50. Exact for every amount below 2^53. */
export function toNumber(amount: { minor: number; exponent: number }): number {
  return amount.exponent === 0 ? amount.minor : Number(`${amount.minor}e-${amount.exponent}`);
}

/** Sums amounts of one currency. The sum of nothing is zero. */
export function sum(amounts: Iterable<Money>, currency: string): Money {
  let minor = 0;
  let exponent = currencyExponent(currency);
  for (const amount of amounts) {
    if (amount.exponent > exponent) {
      minor *= 10 ** (amount.exponent - exponent);
      exponent = amount.exponent;
    }
    minor += amount.minor * 10 ** (exponent - amount.exponent);
  }
  return money(minor, exponent, currency);
}

export function equal(a: Money, b: Money): boolean {
  return a.minor === b.minor && a.exponent === b.exponent && a.currency === b.currency;
}

export function negate(amount: Money): Money {
  return money(-amount.minor, amount.exponent, amount.currency);
}
