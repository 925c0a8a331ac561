// Alarms in a browser: a campaign that many refuse is paused, the alarm stands on the first page, in the side bar, on its own page and
// with the campaign, and somebody takes note of it. And who is written to.

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { axe, launch, logIn, open } from './look.mjs';
import { fresh, world } from './program.mjs';
import { ANNA, people, settled } from './stage.mjs';
import { soon, teller } from './tell.mjs';

const [GOOD, BAD] = [200, 60];
const opened = [];
const story = teller(opened);
let browser, sim, server, client, page, campaign;

before(async () => {
  [sim, browser] = await Promise.all([world(), launch()]);
  server = await fresh(sim.env);
  client = await settled(server);
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
const alarms = async (state) => (await client.get(`alarms?state=${state}`)).items;

story('without an alarm the page says so, and nobody is written to yet', async () => {
  await page.goto(`${server.url}/alarms`);
  await page.getByText('Nothing needs you now.').waitFor();
  assert.deepEqual(await axe(page), []);
  await page.getByRole('link', { name: 'Alarm settings' }).click();
  await label('Mail addresses').fill('ops@accept.test\nnobody');
  await button('Save').click();
  await page.getByText('nobody is no mail address').waitFor();
  await label('Mail addresses').fill('ops@accept.test');
  await button('Save').click();
  await page.getByText('Write the address that writes').waitFor();
  await label('From').fill('alarm@accept.test');
  assert.equal(await page.getByRole('checkbox', { name: /^Pause a campaign when more than 5/ }).isChecked(), true);
  await button('Save').click();
  await page.getByText('The settings of the alarms are saved').waitFor();
  const set = await client.get('alarms/settings');
  assert.deepEqual([set.to, set.from, set.pause_on_bounces], [['ops@accept.test'], 'alarm@accept.test', true]);
  assert.deepEqual(await axe(page), []);
});

story('a campaign that many refuse is paused, and the first page tells it', async () => {
  const good = Array.from({ length: GOOD }, (_, n) => `reader${n}@mail${n % 5}.accept.test`);
  const bad = Array.from({ length: BAD }, (_, n) => `gone${n}@full.test`);
  const audience = await people(client, [...good, ...bad]);
  campaign = await client.post('campaigns', { name: 'Old list', audience, policy: 'rehearsal', draft: { body: 'Hello.', format: 'text', subject: 'Hello', from_mailbox: 'news@accept.test', from_name: 'Bakery' } });
  await page.goto(server.url);
  await page.locator('main h1').waitFor();
  await client.post(`campaigns/${campaign.id}/start`, { undo_seconds: 0 });
  await soon('an alarm is raised', async () => (await alarms('open')).some((alarm) => alarm.kind === 'bounces'), 90);
  // Nobody reloads the page.
  await page.getByRole('heading', { name: 'Many refused for good' }).waitFor();
  await page.locator('.side').getByText(/open alarms?/).first().waitFor({ state: 'attached' });
  assert.deepEqual(await axe(page), []);
});

story('somebody takes note of it; it stays until it is over', async () => {
  await page.goto(`${server.url}/alarms`);
  const card = page.getByRole('article').filter({ has: page.getByRole('heading', { name: 'Many refused for good' }) });
  await card.getByText('What to do').waitFor();
  await card.getByText('“Old list”').first().waitFor();
  assert.deepEqual(await axe(page), []);
  await card.getByRole('button', { name: /^I have seen it/ }).click();
  await card.waitFor({ state: 'hidden' });
  await soon('the server knows', async () => (await alarms('acknowledged')).some((alarm) => alarm.kind === 'bounces'));
  await page.getByRole('link', { name: 'Seen', exact: true }).click();
  await page.getByRole('heading', { name: 'Many refused for good' }).waitFor();
  await page.getByRole('link', { name: /^Open the campaign/ }).first().click();
  await page.waitForURL(new RegExp(`/campaigns/${campaign.id}`));
  await page.locator('main h1').filter({ hasText: 'Old list' }).waitFor();
});
