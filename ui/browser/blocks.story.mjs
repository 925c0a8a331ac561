// The block editor under real hands: a mouse that drags, keys that move, undo and redo; every block added, saved and read again;
// and ten megabytes from the clipboard.

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { launch, logIn, open } from './look.mjs';
import { fresh } from './program.mjs';
import { ANNA, settled } from './stage.mjs';
import { soon, teller } from './tell.mjs';

const TYPES = ['heading', 'text', 'image', 'button', 'divider', 'spacer', 'columns', 'social', 'quote', 'products', 'video', 'html', 'conditional', 'footer'];
/** The longest time in which nothing may move: a tab that is not frozen, not one that is fast. */
const FROZEN_MS = 5_000;

const opened = [];
const story = teller(opened);
let browser, server, client, page;

before(async () => {
  browser = await launch();
  server = await fresh();
  client = await settled(server);
  const here = await open(browser, { viewport: { width: 1400, height: 1500 }, permissions: ['clipboard-read', 'clipboard-write'] });
  opened.push(here);
  page = here.page;
  page.setDefaultTimeout(15_000);
  await logIn(page, { url: server.url, ...ANNA });
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

const four = () => ({
  version: 1,
  theme: {},
  blocks: [
    { id: 'one', type: 'heading', text: 'First' },
    { id: 'two', type: 'text', html: '<p>Second</p>' },
    { id: 'three', type: 'columns', columns: [{ width: 50, blocks: [{ id: 'left', type: 'text', html: '<p>Left</p>' }] }, { width: 50, blocks: [] }] },
    { id: 'foot', type: 'footer', html: '<p>Bakery</p>' },
  ],
});
/** Opens a draft with this document; `now` is the document that the server has. */
async function writing(name, doc, format = 'blocks') {
  const body = typeof doc === 'string' ? doc : JSON.stringify(doc);
  const made = await client.post('campaigns', { name, draft: { body, format, subject: name, from_mailbox: 'news@accept.test', from_name: 'Bakery' } });
  await page.goto(`${server.url}/campaigns/${made.id}/write`);
  await page.locator(format === 'blocks' ? '.editor [data-block]' : '.cm-content').first().waitFor();
  const raw = async () => (await client.get(`campaigns/${made.id}`)).draft.body;
  return { raw, now: async () => JSON.parse(await raw()) };
}
const card = (id) => page.locator(`[data-block="${id}"]`);
/** The blocks at the top of the canvas, in order. */
const order = () => page.evaluate(() => [...document.querySelectorAll('.paper > .list > [data-block]')].map((one) => one.dataset.block));
const ids = (doc) => doc.blocks.map((one) => one.id);
const stands = (wanted, why) => soon(why, async () => JSON.stringify(await order()) === JSON.stringify(wanted));
const reaches = (text, wanted, why) => soon(`${why}, at the server`, async () => JSON.stringify(ids(await text.now())) === JSON.stringify(wanted));

/** Drags a block by its grip with the mouse to a point of an element. */
async function drag(id, to, share) {
  await card(id).hover({ position: { x: 30, y: 12 } });
  const grip = await card(id).locator('> .grip').boundingBox();
  await page.mouse.move(grip.x + grip.width / 2, grip.y + grip.height / 2);
  await page.mouse.down();
  const end = await to.boundingBox();
  const [x, y] = [end.x + end.width / 2, end.y + end.height * share];
  await page.mouse.move(x, (grip.y + y) / 2, { steps: 6 });
  await page.mouse.move(x, y, { steps: 6 });
  await page.locator('.paper .mark').first().waitFor();
  await page.mouse.up();
}

story('a block is dragged by the mouse, and taken back by keys and by buttons', async () => {
  const text = await writing('Drag', four());
  await drag('one', card('two'), 0.85);
  await stands(['two', 'one', 'three', 'foot'], 'the first is behind the second');
  await reaches(text, ['two', 'one', 'three', 'foot'], 'the first is behind the second');

  await card('two').focus();
  await page.keyboard.press('Control+z');
  await stands(['one', 'two', 'three', 'foot'], 'taken back by key');
  await page.keyboard.press('Control+Shift+z');
  await stands(['two', 'one', 'three', 'foot'], 'done again by key');
  await page.getByRole('button', { name: 'Undo', exact: true }).click();
  await stands(['one', 'two', 'three', 'foot'], 'taken back by button');
  await page.getByRole('button', { name: 'Redo', exact: true }).click();
  await stands(['two', 'one', 'three', 'foot'], 'done again by button');
  await page.getByRole('button', { name: 'Undo', exact: true }).click();
  await stands(['one', 'two', 'three', 'foot'], 'and back');

  // Into a column that is empty, and out of one.
  await drag('two', card('three').locator('.list.inside').nth(1), 0.5);
  await stands(['one', 'three', 'foot'], 'into a column');
  await soon('the column has it', async () => (await text.now()).blocks[1].columns[1].blocks[0]?.id === 'two');
  await drag('left', card('one'), 0.1);
  await stands(['left', 'one', 'three', 'foot'], 'out of a column');
  await reaches(text, ['left', 'one', 'three', 'foot'], 'out of a column');
});

story('keys move blocks', async () => {
  const text = await writing('Keys', four());
  await card('two').focus();
  await page.keyboard.press('Alt+ArrowUp');
  await stands(['two', 'one', 'three', 'foot'], 'up');
  assert.equal(await page.evaluate(() => document.activeElement?.dataset.block), 'two', 'the focus goes with it');
  await page.keyboard.press('Alt+ArrowDown');
  await stands(['one', 'two', 'three', 'foot'], 'down');
  await page.keyboard.press('Delete');
  await stands(['one', 'three', 'foot'], 'removed');
  await page.keyboard.press('Control+z');
  await stands(['one', 'two', 'three', 'foot'], 'brought back');
  await card('one').focus();
  await page.keyboard.press('Control+d');
  await soon('doubled', async () => (await order()).length === 5);
  await soon('doubled at the server', async () => (await text.now()).blocks.filter((one) => one.text === 'First').length === 2);
});

story('all fourteen blocks are added, saved and read again', async () => {
  const text = await writing('Fourteen', { version: 1, theme: {}, blocks: [{ id: 'begin', type: 'heading', text: 'Begin' }] });
  for (const type of TYPES) {
    // Each behind the last one; the button's menu closes by itself.
    const menu = page.locator('.bar-tools details.menu');
    await menu.locator('summary').click();
    await menu.getByRole('button').nth(TYPES.indexOf(type)).click();
    await page.locator('.card.open').waitFor();
    await page.keyboard.press('Escape');
  }
  await soon('the server has all', async () => {
    const have = (await text.now()).blocks.map((one) => one.type);
    return TYPES.every((type) => have.includes(type)) && have.length === TYPES.length + 1;
  });
  // Words in three of them, by hand.
  const type = async (kind, words) => {
    const block = (await text.now()).blocks.find((one) => one.type === kind && one.id !== 'begin');
    await card(block.id).focus();
    await page.keyboard.press('Enter');
    const field = card(block.id).locator('.inside-edit').locator('.ProseMirror, textarea, input:not([type=checkbox], [type=color])').first();
    await field.click();
    await page.keyboard.press('Control+a');
    await page.keyboard.type(words);
    await page.keyboard.press('Escape');
    await soon(`${kind}: ${words}`, async () => JSON.stringify((await text.now()).blocks.find((one) => one.id === block.id)).includes(words));
  };
  await type('text', 'Zażółć gęślą jaźń');
  await type('quote', 'Good bread says nothing');
  await type('html', 'b i');
  const before = await text.now();
  await page.reload();
  await page.locator('.editor [data-block]').first().waitFor();
  assert.deepEqual(await order(), ids(before));
  for (const block of before.blocks) await card(block.id).waitFor();
  assert.ok((await page.locator('.paper').innerText()).includes('Zażółć gęślą jaźń'));
  assert.ok((await page.locator('.paper').innerText()).includes('Good bread says nothing'));
  // A change here and its taking back send the whole document through the editor once more.
  await card(before.blocks[1].id).focus();
  await page.keyboard.press('Alt+ArrowUp');
  await soon('moved', async () => (await text.now()).blocks[0].id === before.blocks[1].id);
  await page.keyboard.press('Control+z');
  await soon('and back', async () => (await text.now()).blocks[0].id === before.blocks[0].id);
  assert.deepEqual(await text.now(), before, 'nothing is lost on the way');
});

/** Pastes what the clipboard has where the focus is; the longest gap between two frames until `done` can be seen. */
async function paste(done) {
  await page.evaluate(() => {
    window.__gap = 0;
    let last = performance.now();
    const tick = (now) => {
      window.__gap = Math.max(window.__gap, now - last);
      last = now;
      window.__frame = requestAnimationFrame(tick);
    };
    window.__frame = requestAnimationFrame(tick);
  });
  await page.keyboard.press('Control+v');
  await done.waitFor();
  // Two frames more: what froze behind the words counts too.
  return page.evaluate(
    () => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame((now) => {
      cancelAnimationFrame(window.__frame);
      resolve(Math.round(Math.max(window.__gap, performance.now() - now)));
    }))),
  );
}

story('ten megabytes from the clipboard', async (t) => {
  const text = await writing('Paste', { ...four(), blocks: [...four().blocks.slice(0, 3), { id: 'raw', type: 'html', html: '<b>x</b>' }, ...four().blocks.slice(3)] });
  await page.evaluate(() => navigator.clipboard.writeText('bread and butter\n'.repeat(620_000)));
  const before = await text.now();
  const refused = page.getByText(/characters are too many here \(at most [\d,]+\)\. Nothing was changed/).first();
  const gaps = {};
  const places = {
    text: async () => {
      await card('two').focus();
      await page.keyboard.press('Enter');
      await card('two').locator('.ProseMirror').click();
    },
    html: async () => {
      await card('raw').focus();
      await page.keyboard.press('Enter');
      await card('raw').locator('textarea').first().click();
    },
    heading: async () => {
      await card('one').focus();
      await page.keyboard.press('Enter');
      await card('one').locator('.inside-edit').locator('textarea, input:not([type=checkbox], [type=color])').first().click();
    },
    subject: async () => page.getByLabel(/^Subject/).first().click(),
  };
  for (const [place, there] of Object.entries(places)) {
    await there();
    gaps[place] = await paste(refused);
    await page.keyboard.press('Escape');
    if (place === 'subject') continue;
    // Typing on goes on.
    await there();
    await page.keyboard.press('End');
    await page.keyboard.type('!');
    await refused.waitFor({ state: 'hidden' });
    await page.keyboard.press('Backspace');
    await page.keyboard.press('Escape');
  }
  await soon('nothing was changed', async () => JSON.stringify(await text.now()) === JSON.stringify(before));

  const code = await writing('Paste code', '<p>Hello</p>', 'html');
  await page.locator('.cm-content').click();
  gaps.code = await paste(refused);
  assert.equal(await code.raw(), '<p>Hello</p>');
  t.diagnostic(`longest gap between two frames in ms: ${JSON.stringify(gaps)}`);
  for (const [place, gap] of Object.entries(gaps)) assert.ok(gap < FROZEN_MS, `${place}: nothing moved for ${gap} ms`);
});
