// The block document: what may be done to it, what is refused, and that nothing is lost on the way.

import assert from 'node:assert/strict';
import test from 'node:test';
import { load } from './load.mjs';

const d = await load('document.ts');

const text = (id) => ({ id, type: 'text', html: `<p>${id}</p>` });
const doc = (...blocks) => ({ version: 1, theme: {}, blocks });
const order = (one) => d.all(one).map((f) => f.block.id).join(' ');
const TOP = { id: '', part: 'blocks' };
const two = () => doc(text('a'), { id: 'c', type: 'columns', columns: [{ width: 40, blocks: [text('l')] }, { width: 60, blocks: [text('r')] }] }, text('z'));
const ok = (change) => (assert.equal(change.refused, undefined), change.doc);

test('insert, remove, duplicate', () => {
  const one = ok(d.insert(two(), { id: 'c', part: 1 }, 1, text('new')));
  assert.equal(order(one), 'a c l r new z');
  const gone = d.remove(one, 'r');
  assert.equal(order(gone.doc), 'a c l new z');
  assert.equal(gone.id, 'new');
  const twice = d.duplicate(two(), 'c');
  assert.equal(d.all(twice.doc).length, 8);
  assert.equal(new Set(d.all(twice.doc).map((f) => f.block.id)).size, 8, 'ids are new');
  assert.equal(twice.doc.blocks[2].columns[0].width, 40);
  assert.equal(d.remove(doc(text('a')), 'a').id, '');
});

test('steps go through columns and out of them', () => {
  let now = two();
  const seen = [];
  for (let i = 0; i < 6; i += 1) {
    now = ok(d.step(now, 'l', 1));
    seen.push(order(now));
  }
  assert.deepEqual(seen, ['a c l r z', 'a c r l z', 'a c r l z', 'a c r z l', 'a c r z l', 'a c r z l']);
  for (let i = 0; i < 3; i += 1) now = ok(d.step(now, 'l', -1));
  assert.equal(order(now), 'l a c r z');
});

test('every place can be dropped at and nothing is lost', () => {
  const start = two();
  for (const { block } of d.all(start)) {
    for (const place of [TOP, { id: 'c', part: 0 }, { id: 'c', part: 1 }]) {
      for (let i = 0; i <= d.at(start, place).length; i += 1) {
        const change = d.moveTo(start, block.id, place, i);
        if (change.refused) {
          assert.equal(block.type, 'columns');
          continue;
        }
        assert.deepEqual(order(change.doc).split(' ').sort(), order(start).split(' ').sort());
        for (const { block: one } of d.all(change.doc)) if (one.type === 'text') assert.deepEqual(one, text(one.id));
      }
    }
  }
  assert.equal(d.moveTo(start, 'c', { id: 'c', part: 0 }, 0).refused, 'intoItself');
});

test('limits', () => {
  const foot = { id: 'f', type: 'footer' };
  assert.equal(d.insert(two(), { id: 'c', part: 0 }, 0, foot).refused, 'footerInside');
  assert.equal(d.insert(doc(foot), TOP, 0, { ...foot, id: 'g' }).refused, 'twoFooters');
  assert.equal(d.duplicate(doc(foot), 'f').refused, 'twoFooters');
  assert.equal(d.insert(two(), { id: 'c', part: 0 }, 0, { id: 'k', type: 'columns', columns: [] }).refused, 'columnsInside');
  const inIf = { id: 'w', type: 'conditional', blocks: [{ id: 'k', type: 'columns', columns: [{ blocks: [] }, { blocks: [] }] }] };
  assert.equal(d.insert(two(), { id: 'c', part: 0 }, 0, inIf).refused, 'columnsInside');
  const many = doc(...Array.from({ length: 200 }, (_, i) => text(`t${i}`)));
  assert.equal(d.insert(many, TOP, 0, text('x')).refused, 'tooMany');
  assert.equal(d.moveTo(many, 't0', TOP, 200).refused, undefined, 'moving adds nothing');
  const nest = (n) => (n ? { id: `w${n}`, type: 'conditional', blocks: [nest(n - 1)] } : text('deep'));
  assert.equal(d.insert(doc(), TOP, 0, nest(3)).refused, undefined);
  assert.equal(d.insert(doc(), TOP, 0, nest(4)).refused, 'tooDeep');
  assert.equal(d.update(doc(text('a')), 'a', { html: 'x'.repeat(10_000_000) }).refused, 'tooLarge');
});

test('save and load give the same, whatever is inside', () => {
  const odd = doc({ id: 'a', type: 'text', html: '<p>ż{{ x|default("ü") }}</p>', future: { deep: [1, null] } }, ...d.TYPES.map((type) => d.make(type, new Set())));
  assert.deepEqual(d.parse(d.serialize(odd)), odd);
  for (const bad of ['{', '[]', '{"version":2,"blocks":[]}', '{"version":1,"blocks":[{"id":"a","type":"table"}]}', '{"version":1,"blocks":[{"id":"a","type":"columns"}]}', '{"version":1,"blocks":[null]}', 'null']) {
    assert.ok(d.parse(bad).wrong, bad);
  }
  assert.deepEqual(d.parse(' '), doc());
});

test('columns change their number without losing blocks', () => {
  const three = ok(d.setColumns(two(), 'c', 3));
  assert.deepEqual(three.blocks[1].columns.map((c) => [c.width, c.blocks.length]), [[undefined, 1], [undefined, 1], [undefined, 0]]);
  const full = ok(d.insert(three, { id: 'c', part: 2 }, 0, text('q')));
  assert.equal(order(ok(d.setColumns(full, 'c', 2))), 'a c l r q z');
});

test('undo and redo give back exactly what was there', () => {
  const past = new d.Past();
  let now = doc(text('a'));
  const states = [d.serialize(now)];
  for (let i = 0; i < 50; i += 1) {
    past.note(d.serialize(now));
    const list = d.all(now);
    const pick = list[i % list.length].block.id;
    const change = [() => d.duplicate(now, pick), () => d.step(now, pick, -1), () => d.insert(now, TOP, 0, d.made(now, d.TYPES[i % 13])), () => d.update(now, pick, { note: i })][i % 4]();
    if (!change.refused) now = change.doc;
    states.push(d.serialize(now));
  }
  for (let i = states.length - 2; i >= 0; i -= 1) {
    const to = past.undo(d.serialize(now));
    assert.equal(to, states[i]);
    now = d.parse(to);
  }
  assert.equal(past.canUndo, false);
  for (let i = 1; i < states.length; i += 1) {
    const to = past.redo(d.serialize(now));
    assert.equal(to, states[i]);
    now = d.parse(to);
  }
  assert.equal(past.canRedo, false);
});

test('typing in one field is one step; a pause or another field begins the next', () => {
  const past = new d.Past();
  past.note('0', 'a.text', 0);
  past.note('1', 'a.text', 500);
  past.note('2', 'b.text', 600);
  past.note('3', 'b.text', 5_000);
  assert.deepEqual([past.undo('4'), past.undo('3'), past.undo('2'), past.undo('0')], ['3', '2', '0', undefined]);
});

test('only colours are painted', () => {
  assert.equal(d.paint('#1d4ed8'), '#1d4ed8');
  assert.equal(d.paint('#FFF'), '#FFF');
  for (const value of ['url(https://example.org/x)', 'red', '#12', '#1234567', '#fff url(x)', '', 7, null, undefined]) assert.equal(d.paint(value), null);
  assert.equal(d.dressed({ background: 'url(https://example.org/x)', accent: '#000000', width: 500 }).background, d.THEME.background);
  assert.equal(d.dressed({ accent: '#000000' }).accent, '#000000');
});
