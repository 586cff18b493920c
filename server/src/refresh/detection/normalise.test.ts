import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { calendarDate, collapse, dayNumber, norm, sim } from './normalise.ts';

test('a label is compared without case, accents, punctuation, dates and masked cards', () => {
  assert.equal(norm('Café  de la Gare'), 'CAFE DE LA GARE');
  assert.equal(norm('CB*1234 MONOPRIX 12/03/26'), 'MONOPRIX');
  assert.equal(norm('ACHAT XXXX1234 LE 12.03'), 'ACHAT LE');
  assert.equal(norm('MONOPRIX 2026-03-12'), 'MONOPRIX');
  assert.equal(norm('FRAIS 12.50'), 'FRAIS 12 50');
  assert.equal(norm('Оплата №7'), 'ОПЛАТА NO7');
  assert.equal(norm('CB*1234 VISA**5678 A*B*9012 ****3456 AXX7890'), 'A A');
});

test('likeness counts shared words, and containment is nearly sameness', () => {
  assert.equal(sim('A B', 'A B'), 1);
  assert.equal(sim('', ''), 1);
  assert.equal(sim('MONOPRIX PARIS', 'CB MONOPRIX PARIS'), 0.9);
  assert.equal(sim('EDF', 'PRLV SOLEDF'), 0);
  assert.equal(sim('VIR LOYER MARS', 'VIR LOYER AVRIL'), 2 / 3);
  assert.equal(sim('CAFE', ''), 0);
});

test('only the Unicode form and white space are levelled for a change of label', () => {
  assert.equal(collapse(' Cafe\u0301 \n du  parc '), 'Café du parc');
  assert.notEqual(collapse('CAFE'), collapse('Cafe'));
});

test('calendar dates count days without a time zone', () => {
  assert.equal(dayNumber('1970-01-01'), 0);
  assert.equal(dayNumber('2024-03-01') - dayNumber('2024-02-28'), 2);
  fc.assert(fc.property(fc.integer({ min: -20_000, max: 60_000 }), (day) => dayNumber(calendarDate(day)) === day));
});
