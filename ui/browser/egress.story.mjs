// Addresses to send from: one with a warm-up, a pool, a route that leaves from it; a relay of several servers; a new DKIM key beside
// the old one.

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { axe, launch, logIn, open } from './look.mjs';
import { fresh, world } from './program.mjs';
import { ANNA, settled } from './stage.mjs';
import { soon, teller } from './tell.mjs';

const opened = [];
const story = teller(opened);
let browser, sim, server, client, page;

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
const dialog = () => page.getByRole('dialog').last();

story('an address with a warm-up, and a pool that has it', async () => {
  await page.goto(`${server.url}/sources`);
  await page.getByText('No address yet').waitFor();
  await button('Add address').first().click();
  await dialog().getByRole('button', { name: 'Save' }).click();
  await dialog().getByText('Give it an IPv4 address, an IPv6 address, or both').waitFor();
  await label('Name').fill('mta1');
  await label('IPv4 address').fill('127.0.0.1');
  await label('Name in EHLO').fill('mta1.accept.test');
  await page.getByRole('checkbox', { name: /^New address: warm it up/ }).check();
  await page.getByLabel(/^Messages a day to each provider/).fill('50 200');
  await dialog().getByRole('button', { name: 'Save' }).click();
  await dialog().getByText(/^■ Day 2 is no whole number/).waitFor();
  await page.getByLabel(/^Messages a day to each provider/).fill('50 100 150');
  await dialog().getByRole('button', { name: 'Save' }).click();
  await page.getByRole('row').filter({ hasText: 'mta1.accept.test' }).filter({ hasText: 'warms up since' }).waitFor();
  const [source] = (await client.get('egress/sources')).items;
  assert.deepEqual([source.ipv4, source.warm_up.plan], ['127.0.0.1', [50, 100, 150]]);
  await page.getByText('It has not sent to any provider yet.').waitFor();
  await button('Add pool').click();
  await label('Name').fill('newsletters');
  await page.getByRole('checkbox', { name: /^mta1/ }).check();
  await dialog().getByRole('button', { name: 'Save' }).click();
  await page.getByRole('row').filter({ hasText: 'newsletters' }).filter({ hasText: 'mta1 100' }).waitFor();
  assert.deepEqual(await axe(page), []);
});

story('a direct route leaves from the pool', async () => {
  const [pool] = (await client.get('egress/pools')).items;
  const [route] = (await client.get('routes')).items;
  await page.goto(`${server.url}/routes/${route.id}`);
  await label('Leaves from').selectOption({ label: 'newsletters' });
  await button('Save and test').click();
  await soon('the route has it', async () => (await client.get(`routes/${route.id}`)).settings.egress.pool === pool.id);
  assert.deepEqual(await axe(page), []);
});

story('a relay of two servers, the second for the first one’s failure', async () => {
  await page.goto(`${server.url}/routes/new`);
  await label('Server').fill('smtp1.accept.test');
  await page.getByRole('checkbox', { name: /^Requires authentication/ }).uncheck();
  await page.getByRole('checkbox', { name: /^Share mail over several servers/ }).check();
  await button('Add server').click();
  await button('Save and test').click();
  await page.getByText('Write the name and the port of each server').waitFor();
  const second = page.getByRole('group', { name: 'Server 2' });
  await second.getByLabel('Server', { exact: true }).fill('smtp2.accept.test');
  await second.getByLabel('Priority', { exact: true }).fill('1');
  await label('Who signs (DKIM)').selectOption('relay');
  assert.deepEqual(await axe(page), []);
  await button('Save and test').click();
  await page.waitForURL(/\/routes\/rte_/);
  const made = (await client.get('routes')).items.find((one) => one.settings.hosts.length);
  assert.deepEqual(made.settings.hosts.map((host) => [host.host, host.port, host.priority]), [['smtp1.accept.test', 587, 0], ['smtp2.accept.test', 587, 1]]);
  assert.deepEqual([made.settings.host, made.settings.signing], ['', 'relay']);
});

story('a new DKIM key waits for its record beside the one that signs', async () => {
  const [domain] = (await client.get('domains')).items;
  await page.goto(`${server.url}/domains/${domain.id}`);
  await button('New DKIM key').click();
  await dialog().getByRole('button', { name: 'Make new key' }).click();
  await page.getByRole('row').filter({ hasText: 'waits for its record' }).waitFor();
  const states = async () => (await client.get(`domains/${domain.id}`)).keys.map((key) => key.state);
  assert.deepEqual((await states()).sort(), ['active', 'pending']);
  assert.deepEqual(await axe(page), []);
  await button(/^Drop this key/).click();
  await dialog().getByRole('button', { name: 'Drop this key' }).click();
  await soon('it is gone', async () => (await states()).join() === 'active');
});

story('without a certificate of our own the page says so', async () => {
  await page.goto(`${server.url}/tls?show=certificates`);
  await page.getByText('No certificate of our own').waitFor();
  assert.deepEqual(await axe(page), []);
});
