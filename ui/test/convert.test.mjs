// From one way of writing to another: what is said to come along does come along.

import assert from 'node:assert/strict';
import test from 'node:test';
import { load } from './load.mjs';

const c = await load('convert.ts');
const types = (body) => JSON.parse(body).blocks.map((block) => block.type).join(' ');

const MARKDOWN = `# Hello {{ first_name|default('you_all') }}

Some **bold** and *soft* words with [a link](https://example.org/?a=1&b=2), \`code\` and 2 * 3 * 4.
Second line.

- one
- two {{ a_b }} and {{ c_d }}

1. first
2. second

---

![A shop](https://example.org/a.png)

> Well said
> twice

## Next
Right below.`;

test('Markdown becomes blocks with everything in it', () => {
  const body = c.convert('markdown', 'blocks', MARKDOWN);
  assert.equal(types(body), 'heading text divider image quote heading text footer');
  const [heading, first, , image, quote, next, last] = JSON.parse(body).blocks;
  assert.equal(heading.text, "Hello {{ first_name|default('you_all') }}");
  assert.equal(
    first.html,
    '<p>Some <strong>bold</strong> and <em>soft</em> words with <a href="https://example.org/?a=1&amp;b=2">a link</a>, <code>code</code> and 2 * 3 * 4.\nSecond line.</p>' +
      '<ul><li><p>one</p></li><li><p>two {{ a_b }} and {{ c_d }}</p></li></ul><ol><li><p>first</p></li><li><p>second</p></li></ol>',
  );
  assert.deepEqual([image.src, image.alt, quote.text, next.level, last.html], ['https://example.org/a.png', 'A shop', 'Well said\ntwice', 2, '<p>Right below.</p>']);
});

test('text becomes paragraphs, signs stay signs', () => {
  const body = c.convert('text', 'blocks', 'a < b & c\nd\n\n\ne');
  assert.equal(JSON.parse(body).blocks[0].html, '<p>a &lt; b &amp; c<br>d</p><p>e</p>');
  assert.equal(types(c.convert('text', 'blocks', ' ')), 'footer');
});

test('HTML keeps its markup in one block, and in MJML', () => {
  const html = '<html><body class="x"><table><tr><td>{{ city }}</td></tr></table></body></html>';
  assert.equal(JSON.parse(c.convert('html', 'blocks', html)).blocks[0].html, '<table><tr><td>{{ city }}</td></tr></table>');
  assert.match(c.convert('html', 'mjml', html), /<mj-text>\n<table>/);
});

test('words, links and pictures of blocks come along; conditions stay conditions', () => {
  const doc = {
    version: 1,
    theme: {},
    blocks: [
      { id: 'h', type: 'heading', text: 'Big < bold', level: 2 },
      { id: 'c', type: 'columns', columns: [{ blocks: [{ id: 't', type: 'text', html: '<p>Left <a href="https://example.org/x">there</a></p><ul><li><p>one</p></li><li><p>two</p></li></ul>' }] }, { blocks: [{ id: 'i', type: 'image', src: 'https://example.org/p.png', alt: 'Pic' }] }] },
      { id: 'w', type: 'conditional', when: { variable: 'city', is: 'equal', value: 'Turin' }, blocks: [{ id: 'k', type: 'button', label: 'Come', href: 'https://example.org/t' }], otherwise: [{ id: 'q', type: 'quote', text: 'Else', author: 'A' }] },
    ],
  };
  assert.equal(
    c.convert('blocks', 'markdown', '', doc),
    '## Big < bold\n\nLeft [there](https://example.org/x)\n\n- one\n- two\n\n![Pic](https://example.org/p.png)\n\n{% if city == "Turin" %}[Come](https://example.org/t)\n\n{% else %}Else\n\nA\n\n{% endif %}',
  );
  const plainText = c.convert('blocks', 'text', '', doc);
  for (const part of ['Big < bold', 'there (https://example.org/x)', '- one', 'Pic', 'Come (https://example.org/t)', 'Else']) assert.ok(plainText.includes(part), part);
  assert.match(c.convert('blocks', 'html', '', doc), /^<h2>Big &lt; bold<\/h2>/);
});

test('what is promised: nothing is lost only where nothing is', () => {
  assert.equal(c.loss('blocks', 'text'), 'words');
  assert.equal(c.loss('text', 'blocks'), 'whole');
  assert.equal(c.loss('html', 'text'), 'words');
});
