// Nobody's text is lost: two people write one draft, a tab is closed in the middle of a word, a session ends, the server goes away
// and comes back. What counts is what the server has in the end.

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { Client } from './client.mjs';
import { launch, logIn, open } from './look.mjs';
import { fresh, world } from './program.mjs';
import { ANNA, people, settled } from './stage.mjs';
import { soon, teller } from './tell.mjs';

const BRUNO = { mailbox: 'bruno@accept.test', name: 'Bruno', password: 'another horse battery' };
const opened = [];
// What a browser says about a server that is away is the matter of the last story; it has no other faults to tell.
const story = teller(opened, /net::ERR_(CONNECTION_REFUSED|CONNECTION_RESET|INCOMPLETE_CHUNKED_ENCODING|EMPTY_RESPONSE|SOCKET_NOT_CONNECTED|FAILED)/);
let browser, sim, server, client, audience;

before(async () => {
  [sim, browser] = await Promise.all([world(), launch()]);
  server = await fresh(sim.env);
  client = await settled(server);
  await client.post('accounts', { ...BRUNO, role: 'editor' });
  audience = await people(client, ['one@mail1.accept.test', 'two@mail1.accept.test']);
});
after(async () => {
  await browser?.close();
  await server?.stop();
  sim?.stop();
});

/** A browser of its own with somebody in it. */
async function person(who, to = '/') {
  const here = await open(browser, { viewport: { width: 1280, height: 900 } });
  here.page.setDefaultTimeout(20_000);
  opened.push(here);
  await logIn(here.page, { url: server.url, ...who }, to);
  return here;
}
/** A draft in plain text; its address and what the server has of it. */
async function draft(name) {
  const made = await client.post('campaigns', { name, audience, draft: { body: 'Before.', format: 'text', subject: 'Before', from_mailbox: 'news@accept.test', from_name: 'Bakery' } });
  return { id: made.id, path: `/campaigns/${made.id}/write`, now: async () => (await client.get(`campaigns/${made.id}`)).draft };
}
const subject = (page) => page.getByLabel(/^Subject/).first();
const body = (page) => page.getByLabel('Plain text', { exact: true }).first();
const saved = (page) => page.locator('main header [role=status], main [role=status]').filter({ hasText: 'Saved' }).first();

story('two people write one draft and nobody loses a word', async () => {
  const text = await draft('Two people');
  const [anna, bruno] = [await person(ANNA, text.path), await person(BRUNO, text.path)];
  await subject(bruno.page).waitFor();
  await subject(anna.page).waitFor();
  // What Bruno saves is under way while Anna's reaches the server.
  let release;
  const held = new Promise((resolve) => (release = resolve));
  let caught;
  const underWay = new Promise((resolve) => (caught = resolve));
  await bruno.page.route('**/api/v1/campaigns/*/draft', async (route) => {
    caught();
    await held;
    await route.continue();
  });
  await subject(bruno.page).fill('Bruno says hello');
  await body(bruno.page).fill('Bruno wrote about rye.');
  await underWay;
  await subject(anna.page).fill('Anna says hello');
  await body(anna.page).fill('Anna wrote about wheat.');
  await soon('Anna is saved', async () => (await text.now()).body === 'Anna wrote about wheat.' && (await text.now()).subject === 'Anna says hello');
  release();

  const dialog = bruno.page.getByRole('dialog');
  for (const words of ['Anna says hello', 'Bruno says hello', 'Anna wrote about wheat.', 'Bruno wrote about rye.']) await dialog.getByText(words).first().waitFor();
  // Whoever wants to think first finds the own words in place, and the way back to the question.
  await dialog.getByRole('button', { name: 'Later' }).click();
  assert.equal(await body(bruno.page).inputValue(), 'Bruno wrote about rye.');
  assert.equal((await text.now()).body, 'Anna wrote about wheat.', 'nothing is overwritten before the choice');
  await bruno.page.getByRole('alert').getByRole('button').first().click();
  const choice = (legend, words) => dialog.getByRole('group', { name: legend }).locator('label').filter({ hasText: words }).getByRole('radio');
  await choice('Subject', 'Anna says hello').check();
  await choice('Text', 'Bruno wrote about rye.').check();
  await dialog.getByRole('button', { name: 'Keep what is chosen' }).click();
  await dialog.waitFor({ state: 'hidden' });
  await soon('the choice is at the server', async () => {
    const { subject: s, body: b } = await text.now();
    return s === 'Anna says hello' && b === 'Bruno wrote about rye.';
  });
  // Both whole versions stand in the history.
  const { items } = await client.get(`campaigns/${text.id}/history?limit=50`);
  const past = await Promise.all(items.map((one) => client.get(`campaigns/${text.id}/history/${one.rev}`)));
  const all = JSON.stringify(past) + JSON.stringify(await text.now());
  for (const words of ['Anna says hello', 'Bruno says hello', 'Anna wrote about wheat.', 'Bruno wrote about rye.']) assert.ok(all.includes(words), `${words} is lost`);
  // Anna's page, where nothing waits, follows by itself: at the latest after 20 s, and at once when she comes back to it.
  await anna.page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
  await anna.page.waitForFunction(() => [...document.querySelectorAll('textarea')].some((area) => area.value === 'Bruno wrote about rye.'));
  await Promise.all([anna.context.close(), bruno.context.close()]);
});

story('a tab that is closed in the middle of a word', async () => {
  const text = await draft('Closed tab');
  const { page, context } = await person(ANNA, text.path);
  // Nothing reaches the server any more.
  await page.route('**/api/v1/campaigns/*/draft', (route) => route.abort());
  await subject(page).fill('');
  await subject(page).pressSequentially('Autumn bre');
  await body(page).focus();
  await page.keyboard.press('End');
  await page.keyboard.type(' The ovens are hot and the but');
  await page.close();
  assert.equal((await text.now()).subject, 'Before');
  const next = await context.newPage();
  opened.push({ page: next, faults: [] });
  await next.goto(server.url + text.path);
  await next.getByText('brought back from this browser').waitFor();
  assert.equal(await subject(next).inputValue(), 'Autumn bre');
  assert.equal(await body(next).inputValue(), 'Before. The ovens are hot and the but');
  await soon('it is at the server', async () => (await text.now()).subject === 'Autumn bre' && (await text.now()).body.endsWith('and the but'));
  await context.close();
});

story('a session that ends in the middle of a sentence', async () => {
  const text = await draft('Session ends');
  const { page, context } = await person(BRUNO, text.path);
  await subject(page).waitFor();
  // Somebody ends it from elsewhere.
  const other = new Client(server.url);
  await other.post('session', { mailbox: BRUNO.mailbox, password: BRUNO.password });
  const sessions = (await other.get('sessions')).items.filter((one) => !one.current);
  assert.ok(sessions.length > 0);
  for (const one of sessions) await other.call('DELETE', `sessions/${one.id}`);
  await body(page).fill('Half of the sentence, and');
  await page.getByText('Your session ended. What you typed is still here').waitFor();
  assert.equal(await body(page).inputValue(), 'Half of the sentence, and');
  assert.equal((await text.now()).body, 'Before.');
  assert.equal(new URL(page.url()).pathname, text.path, 'the page stays where it is');
  // Nothing behind the log-in can be reached meanwhile.
  assert.equal(await page.evaluate(() => document.querySelector('dialog.over')?.matches(':modal')), true, 'the page behind takes no keys');
  await page.getByLabel('Mail address').fill(BRUNO.mailbox);
  await page.getByLabel('Password', { exact: true }).fill(BRUNO.password);
  await page.getByRole('button', { name: 'Log in' }).click();
  await soon('what waited is saved by itself', async () => (await text.now()).body === 'Half of the sentence, and');
  await page.getByText('Your session ended').waitFor({ state: 'hidden' });
  await body(page).pressSequentially(' the other half.');
  await soon('and so is what comes next', async () => (await text.now()).body === 'Half of the sentence, and the other half.');
  await context.close();
});

story('the server goes away and comes back under open pages', async () => {
  const text = await draft('Server restarts');
  const other = await client.post('campaigns', {
    name: 'Leaves after the restart', audience, policy: 'rehearsal',
    draft: { body: 'Hello.', format: 'text', subject: 'Hello', from_mailbox: 'news@accept.test', from_name: 'Bakery' },
  });
  const [table, writing] = [await person(ANNA, '/campaigns'), await person(ANNA, text.path)];
  await table.page.getByRole('link', { name: 'Server restarts' }).first().waitFor();
  await body(writing.page).waitFor();
  await server.halt();
  for (const { page } of [table, writing]) await page.getByText('The server does not answer').first().waitFor();
  // Writing goes on.
  await body(writing.page).fill('Written while nobody answered.');
  await writing.page.getByText('kept in this browser').first().waitFor();
  await server.again();
  for (const { page } of [table, writing]) {
    await page.getByText('Connected again').waitFor({ timeout: 30_000 });
    await page.getByText('The server does not answer').waitFor({ state: 'hidden' });
  }
  await soon('what was written meanwhile is saved by itself', async () => (await text.now()).body === 'Written while nobody answered.');
  // News arrive without a reload.
  await table.page.evaluate(() => (window.__same = true));
  const row = table.page.getByRole('row').filter({ hasText: 'Leaves after the restart' });
  await row.filter({ hasText: 'draft' }).waitFor();
  await client.post(`campaigns/${other.id}/start`, { undo_seconds: 0 });
  await row.filter({ hasText: /sending|done/ }).waitFor();
  assert.equal(await table.page.evaluate(() => window.__same), true);
  await Promise.all([table.context.close(), writing.context.close()]);
});
