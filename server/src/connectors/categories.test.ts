import assert from 'node:assert/strict';
import { test } from 'node:test';
import { categoryGroups, findCategory, UNCATEGORIZED_ID } from './categories.ts';

test('the tree has the fifteen groups of the appendix, in its order', () => {
  const ids = categoryGroups.map((group) => group.id);
  assert.deepEqual(ids, [168, 164, 167, 162, 171, 303, 2, 161, 315, 166, 163, 165, 159, 160, 170]);
});

test('an id names one category, with a name in each language', () => {
  const categories = categoryGroups.flatMap((group) => group.categories);
  assert.equal(new Set(categories.map((category) => category.id)).size, categories.length);
  for (const category of categories) assert.ok(category.names.en.length > 0 && category.names.fr.length > 0);
});

test('a category knows its group', () => {
  assert.deepEqual(findCategory(UNCATEGORIZED_ID), { id: 1, names: { en: 'Uncategorized', fr: 'Non catégorisé' }, parentId: 160 });
  assert.equal(findCategory(168), null);
});
