// Steering in a browser: a rule for a provider with its reason and its end, a campaign whose rest is cancelled after the number was
// shown, and one delivery that is held and released. What counts is what the server has in the end.

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { axe, launch, logIn, open } from './look.mjs';
import { fresh, world } from './program.mjs';
import { ANNA, people, settled } from './stage.mjs';
import { soon, teller } from './tell.mjs';

const ALL = 30;
const opened = [];
const story = teller(opened);
let browser, sim, server, client, page, audience, site;

before(async () => {
  [sim, browser] = await Promise.all([world(), launch()]);
  server = await fresh(sim.env);
  client = await settled(server);
  audience = await people(client, Array.from({ length: ALL }, (_, n) => `reader${n}@bread.accept.test`));
  const { inquiry, answer } = await client.post('probes/dns', { domain: 'bread.accept.test' });
  site = (answer ?? (await client.until('DNS answers', async () => (await client.get(`probes/${inquiry}`)).answer))).site;
  const here = await open(browser, { viewport: { width: 1280, height: 900 } });
  opened.push(here);
  page = here.page;
  page.setDefaultTimeout(20_000);
  await logIn(page, { url: server.url, ...ANNA });
});
after(async () => {
  await browser?.close();
  await server?.stop();
  sim?.stop();
});

const label = (text) => page.getByLabel(text, { exact: true });
const button = (name) => page.getByRole('button', { name });
const dialog = () => page.getByRole('dialog').last();
const ledger = async (id) => (await client.get(`campaigns/${id}/report`)).ledger;
const rules = async () => (await client.get('queue/rules')).items;
async function begin(name) {
  const made = await client.post('campaigns', { name, audience, policy: 'rehearsal', draft: { body: 'Hello.', format: 'text', subject: 'Hello', from_mailbox: 'news@accept.test', from_name: 'Bakery' } });
  await client.post(`campaigns/${made.id}/start`, { undo_seconds: 0 });
  return made;
}

let first;
story('a provider is suspended with a reason, and everybody sees who did it and why', async () => {
  await page.goto(`${server.url}/queue`);
  await page.getByText('No rule: the queue runs by itself.').waitFor();
  await button('Steer the queue').click();
  await label('Which').fill(site);
  await dialog().getByRole('radio', { name: /^Suspend/ }).check();
  await dialog().getByText('0 deliveries are concerned now.').waitFor();
  await dialog().getByRole('button', { name: 'Suspend' }).click();
  await dialog().getByText('Say why, in one line').waitFor();
  assert.deepEqual(await rules(), []);
  await label('Why').fill('Their postmaster asked us to wait');
  assert.deepEqual(await axe(page), []);
  await dialog().getByRole('button', { name: 'Suspend' }).click();
  const row = page.getByRole('row').filter({ hasText: 'Their postmaster asked us to wait' });
  await row.filter({ hasText: 'suspended' }).filter({ hasText: ANNA.name }).waitFor();
  const [rule] = await rules();
  assert.deepEqual([rule.action, rule.scope.site, rule.state], ['suspend', site, 'stands']);
  first = await begin('Waits for the postmaster');
  await page.getByRole('row').filter({ hasText: 'A rule that somebody set keeps it back.' }).first().waitFor({ timeout: 40_000 });
  assert.deepEqual(await axe(page), []);
  assert.equal((await ledger(first.id)).accepted, 0);
});

story('ended, everything leaves', async () => {
  const row = page.getByRole('row').filter({ hasText: 'Their postmaster asked us to wait' });
  await row.getByRole('button', { name: /^End/ }).click();
  await dialog().getByText('What it suspended goes on.').waitFor();
  await dialog().getByRole('button', { name: 'End', exact: true }).click();
  await page.getByText('No rule: the queue runs by itself.').waitFor();
  await soon('all are accepted', async () => (await ledger(first.id)).accepted === ALL, 40);
  // Who did what stays to be read.
  await page.locator('summary').filter({ hasText: 'Rules that are over' }).click();
  await page.getByRole('row').filter({ hasText: 'somebody ended it' }).waitFor();
});

let second;
story('one delivery is held and released', async () => {
  await client.post('queue/rules', { action: 'suspend', scope: { site }, reason: 'quiet while we look' });
  second = await begin('Half of it');
  await soon('all are queued', async () => (await ledger(second.id)).queued === ALL);
  await page.goto(`${server.url}/campaigns/${second.id}/people?status=QUEUED`);
  await page.locator('main table').getByText('reader7@').first().waitFor();
  await page.getByRole('row').filter({ hasText: 'reader7@' }).getByRole('button').first().click();
  await page.getByRole('dialog').getByText('A rule that somebody set keeps it back.').waitFor();
  await button('Steer').click();
  await dialog().getByRole('radio', { name: /^Hold/ }).check();
  await dialog().getByText('1 delivery is concerned now.').waitFor();
  await label('Why').fill('asked by phone');
  await dialog().getByRole('button', { name: 'Hold' }).click();
  await soon('it is held', async () => (await ledger(second.id)).held === 1);
  const held = (await rules()).find((rule) => rule.action === 'hold');
  assert.ok(held.scope.delivery);
  await client.call('DELETE', `queue/rules/${held.id}`);
  await soon('it is queued again', async () => (await ledger(second.id)).held === 0);
});

story('the rest of a campaign is cancelled, after the number was shown', async () => {
  await page.goto(`${server.url}/campaigns/${second.id}`);
  await page.locator('main h1').waitFor();
  await button('Steer').click();
  await dialog().getByRole('radio', { name: /^Cancel/ }).check();
  const go = dialog().getByRole('button', { name: `Cancel ${ALL} deliveries` });
  await go.waitFor();
  await dialog().getByText(`${ALL} deliveries are concerned now.`).waitFor();
  assert.deepEqual(await axe(page), []);
  await go.click();
  await dialog().getByText('Say why, in one line').waitFor();
  assert.equal((await ledger(second.id)).cancelled, 0, 'nothing happens without a reason');
  await label('Why').fill('sent by mistake');
  await go.click();
  await soon('all are cancelled', async () => (await ledger(second.id)).cancelled === ALL, 40);
  assert.equal((await ledger(second.id)).accepted, 0);
});
