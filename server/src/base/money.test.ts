import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { currencyExponent, money, parseDecimal, sum, toNumber } from './money.ts';

test('reads amounts as banks write them', () => {
  assert.deepEqual(parseDecimal('1234.5', 'EUR'), { minor: 123450, exponent: 2, currency: 'EUR' });
  assert.deepEqual(parseDecimal('-0.00', 'EUR'), { minor: 0, exponent: 2, currency: 'EUR' });
  assert.deepEqual(parseDecimal('1 234,56', 'EUR'), { minor: 123456, exponent: 2, currency: 'EUR' });
  assert.deepEqual(parseDecimal('-00000000000197.1063', 'USD'), { minor: -1971063, exponent: 4, currency: 'USD' });
  assert.deepEqual(parseDecimal('+12', 'JPY'), { minor: 12, exponent: 0, currency: 'JPY' });
  assert.deepEqual(parseDecimal('.5', 'KWD'), { minor: 500, exponent: 3, currency: 'KWD' });
  for (const text of ['', '-', '1.2.3', '1e5', '0x10', 'NaN', '1,234.56', '1.123456', '99999999999999999'])
    assert.equal(parseDecimal(text, 'EUR'), null);
});

test('a decimal survives the way in and out', () => {
  const decimals = fc.tuple(
    fc.integer({ min: -9_999_999_999, max: 9_999_999_999 }),
    fc.integer({ min: 0, max: 5 }),
    fc.constantFrom('EUR', 'JPY', 'KWD'),
  );
  fc.assert(
    fc.property(decimals, ([minor, exponent, currency]) => {
      const amount = money(minor, exponent, currency);
      assert.equal(toNumber(amount), minor === 0 ? 0 : Number(`${minor}e-${exponent}`));
      assert.deepEqual(parseDecimal((minor / 10 ** exponent).toFixed(exponent), currency), amount);
      assert.ok(amount.exponent >= currencyExponent(currency));
    }),
  );
});

test('sums keep every decimal', () => {
  assert.deepEqual(sum([money(1158331, 4, 'USD'), money(-150000, 2, 'USD')], 'USD'), money(-13841669, 4, 'USD'));
  assert.deepEqual(sum([], 'EUR'), money(0, 2, 'EUR'));
});
