// Drafts of people who mean harm: no value of theirs becomes CSS or an element of the page, and no broken list stops the editor.

import assert from 'node:assert/strict';
import test from 'node:test';
import { load } from './load.mjs';

const { parse } = await load('document.ts');
const { FIELDS, FRAME, LOOK } = await load('fields.ts');
const { inert } = await load('inert.ts');

const EVIL = ['red;background:url(http://127.0.0.9/x)', 'expression(1)', 'constructor', '__proto__', {}, [], ['left'], true, null, Number.NaN, 1e308, -1e308, '10', { toString: 'x' }];
const read = (blocks, theme = {}) => parse(JSON.stringify({ version: 1, theme, blocks }));

test('only known words, checked numbers and colours of a draft are left', () => {
  let looked = 0;
  const checked = (fields, made) => {
    for (const field of fields) {
      for (const evil of EVIL) {
        const value = made(field.name, evil);
        if (value === undefined) continue;
        looked += 1;
        const what = `${field.name}: ${JSON.stringify(value)}`;
        if (field.kind === 'choice') assert.ok(field.choices.includes(value), what);
        else if (field.kind === 'number') assert.ok(typeof value === 'number' && value >= field.least && value <= field.most, what);
        else if (field.kind === 'colour') assert.match(value, /^#[0-9a-f]{3,6}$/i, what);
        else if (field.kind === 'flag') assert.equal(value, true, what);
        else assert.equal(typeof value, 'string', what);
      }
    }
  };
  const extra = { columns: { columns: [{ blocks: [] }, { blocks: [] }] }, conditional: { blocks: [] } };
  for (const [type, fields] of Object.entries(FIELDS)) {
    checked(fields, (name, evil) => read([{ id: 'a', type, ...extra[type], [name]: evil }]).blocks[0][name]);
    checked(FRAME, (name, evil) => read([{ id: 'a', type, ...extra[type], frame: { [name]: evil } }]).blocks[0].frame[name]);
  }
  checked(LOOK, (name, evil) => read([], { [name]: evil }).theme[name]);
  assert.ok(looked > 100, `${looked} values stayed`);
  for (const evil of EVIL) {
    const [first] = read([{ id: 'a', type: 'columns', columns: [{ width: evil, blocks: [{ id: 'b', type: 'divider', line: evil }] }, { blocks: [] }] }]).blocks;
    assert.ok(first.columns[0].width === undefined || (first.columns[0].width >= 1 && first.columns[0].width <= 100));
    assert.equal(first.columns[0].blocks[0].line, undefined, 'nested blocks, too');
    const [text] = read([{ id: 'a', type: 'text', html: evil, frame: evil }]).blocks;
    assert.ok(text.html === undefined || typeof text.html === 'string');
    const [social] = read([{ id: 'a', type: 'social', links: evil }]).blocks;
    assert.ok(social.links === undefined || social.links.every((one) => typeof one === 'object'));
    assert.ok('theme' in read([], evil));
  }
  const [items] = read([{ id: 'a', type: 'products', items: [null, 1, { name: {}, price: '3' }], total: { label: [] } }]).blocks;
  assert.deepEqual([items.items, items.total], [[{ price: '3' }], {}]);
});

test('what is well said stays as it is, and what is too large becomes what fits', () => {
  const good = { id: 'a', type: 'divider', color: '#abc', thickness: 3, width: 50, line: 'dashed', frame: { background: '', padding_top: 4 }, later: { x: 1 } };
  assert.deepEqual(read([good], { width: 640, font: 'georgia', accent: '#112233' }), { version: 1, theme: { width: 640, font: 'georgia', accent: '#112233' }, blocks: [good] });
  assert.equal(read([{ id: 'a', type: 'divider', thickness: 99 }]).blocks[0].thickness, 12);
});

test('markup does nothing when a parser sees it', () => {
  const tags = (html) => [...html.matchAll(/<([^>]*)>/g)].map((found) => found[1]);
  for (const html of [
    '<img src=x onerror=1>', '<p style="color:red" onclick=x>a</p>', '<svg onload=1><script>x</script></svg>', '<!--<img src="--><img onerror=1>">', '<a href="javascript:x" ping=y>a</a>',
    '<style>*{display:none}</style>a', '<p title="><img onerror=1>">a', "<p title='\"><img onerror=1>'>a", '<p/onclick=1/style=x>', '<p =style=x onload=1>', '<x\u0000y style=1>', '<scr<script>ipt>', '<p style\n=\n"a">', '<P STYLE=a>',
    '<textarea><p style=x></textarea><b style=x>', '<plaintext><b style=x>', '<!doctype html><?x <b style=y>?>', '</p style=x>', '<p style="x', '<p style', '< p style=x>', '<title></title ><img onload=1>',
  ]) {
    const made = inert(html);
    for (const tag of tags(made)) {
      assert.match(tag, /^\/?(?:x-[a-z0-9-]*|p|a|b|span)(?: (?:href|title|data-[a-z0-9-]+)="[^"<>]*")*$/, `${html} became ${made}`);
    }
    assert.equal(made.replaceAll(/<[^<>]*>/g, '').includes('<'), false, `${html} became ${made}`);
    assert.equal(inert(made), made, 'twice is once');
  }
  assert.equal(inert('<p>1 < 2 &amp; <span style="color:#f00">red</span>{{ a|default(\'b\') }}<br></p>'), '<p>1 &lt; 2 &amp; <span data-style="color:#f00">red</span>{{ a|default(\'b\') }}<br></p>');
  assert.equal(inert('a<script>b</script>c<!-- d -->'), 'a<x-script></x-script>c');
  assert.equal(inert('<b style="x">y</b>', 'data-not-style'), '<b data-not-style="x">y</b>');
});
