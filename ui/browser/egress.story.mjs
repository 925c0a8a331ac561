// Addresses to send from: one with a warm-up, a pool, a route that leaves from it; weights; a relay of several servers; a new DKIM key beside
// the old one.

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { axe, launch, logIn, open } from './look.mjs';
import { fresh, world } from './program.mjs';
import { ANNA, people, settled } from './stage.mjs';
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

story('the weights of a workspace and of a campaign that is planned', async () => {
  const campaign = await client.post('campaigns', {
    name: 'Autumn', audience: await people(client, ['one@accept.test']),
    draft: { from_mailbox: 'news@accept.test', subject: 'Autumn', format: 'markdown', body: '# Autumn' },
  });
  await client.post(`campaigns/${campaign.id}/schedule`, { local: '2099-01-01T10:00', zone: 'Europe/Rome' });
  await page.goto(`${server.url}/sources`);
  const row = (name) => page.getByRole('region', { name: 'Weights' }).getByRole('row').filter({ hasText: name });
  await row('Autumn').filter({ hasText: 'scheduled' }).waitFor();
  await row('Autumn').getByRole('button').click();
  await label('Weight').fill('0');
  await dialog().getByRole('button', { name: 'Save' }).click();
  await dialog().getByText('Write a whole number from 1 to 1000').waitFor();
  await label('Weight').fill('3');
  await dialog().getByRole('button', { name: 'Save' }).click();
  await row('Autumn').getByRole('cell', { name: '3', exact: true }).waitFor();
  assert.equal((await client.get(`campaigns/${campaign.id}`)).weight, 3);
  const [workspace] = (await client.get('workspaces')).items;
  await row('Bakery').getByRole('button').click();
  await label('Weight').fill('5');
  // Somebody else takes the right away meanwhile: the form says so and keeps what was typed.
  await page.route('**/weight', (route) => route.fulfill({ status: 403, contentType: 'application/problem+json', body: JSON.stringify({ type: 'about:blank', title: 'Forbidden', status: 403, code: 'forbidden', detail: 'only an administrator of all workspaces may do this' }) }), { times: 1 });
  await dialog().getByRole('button', { name: 'Save' }).click();
  await dialog().getByRole('alert').waitFor();
  assert.equal(await label('Weight').inputValue(), '5');
  await dialog().getByRole('button', { name: 'Save' }).click();
  await row('Bakery').getByRole('cell', { name: '5', exact: true }).waitFor();
  assert.equal((await client.get(`workspaces/${workspace.id}`)).weight, 5);
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
