// Catalogues: every language has every word of the English one, with the same places and all its plural forms.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import test from 'node:test';

const folder = new URL('../src/i18n/', import.meta.url);
const read = (area, language) => JSON.parse(readFileSync(new URL(`${area}/${language}.json`, folder), 'utf8'));
const forms = (word) => (typeof word === 'string' ? [word] : Object.values(word));
const places = (text) => [...text.matchAll(/\{(\w+)\}/g)].map((m) => m[1]).sort();
const areas = readdirSync(folder);

test('areas do not name the same word', () => {
  const seen = new Map();
  for (const area of areas) {
    for (const key of Object.keys(read(area, 'en'))) {
      assert.ok(!seen.has(key), `${key} is in ${seen.get(key)} and in ${area}`);
      seen.set(key, area);
    }
  }
  assert.ok(seen.size > 50);
});

for (const area of areas) {
  for (const language of ['en', 'it', 'pl']) {
    test(`${area} in ${language}`, () => {
      const english = read(area, 'en');
      const own = read(area, language);
      assert.deepEqual(Object.keys(own).sort(), Object.keys(english).sort());
      for (const [key, word] of Object.entries(own)) {
        const wanted = new Set(forms(english[key]).flatMap(places));
        for (const form of forms(word)) {
          assert.ok(form.trim(), `${key} is empty`);
          for (const place of places(form)) assert.ok(wanted.has(place), `${key}: {${place}} is not in the English text`);
        }
        assert.equal(typeof word, typeof english[key], `${key}: a plural in one language is one in all`);
        if (typeof word === 'object') {
          const needed = new Intl.PluralRules(language).resolvedOptions().pluralCategories;
          assert.deepEqual(Object.keys(word).sort(), [...needed].sort(), `${key}: plural forms`);
          assert.ok(forms(word).some((form) => places(form).includes('n')), `${key} does not say how many`);
        } else {
          assert.deepEqual(places(word), places(english[key]), `${key}: places`);
        }
      }
    });
  }
}
