// The queue in a browser: why mail waits, limits of one's own and their end; rules and results of encryption; what a look at a
// sending domain found. The simulated hosts are real servers on loopback.

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { axe, launch, logIn, open } from './look.mjs';
import { fresh, world } from './program.mjs';
import { ANNA, people, settled } from './stage.mjs';
import { soon, teller } from './tell.mjs';

const ALL = 40;
const SLOW = 'bread.accept.test';
const opened = [];
const story = teller(opened);
let browser, sim, server, client, page, audience, site;

before(async () => {
  [sim, browser] = await Promise.all([world(), launch()]);
  server = await fresh(sim.env);
  client = await settled(server);
  audience = await people(client, Array.from({ length: ALL }, (_, n) => `reader${n}@${SLOW}`));
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
const dialog = () => page.getByRole('dialog');
const campaign = (name) =>
  client.post('campaigns', { name, audience, policy: 'rehearsal', draft: { body: 'Hello.', format: 'text', subject: 'Hello', from_mailbox: 'news@accept.test', from_name: 'Bakery' } });
const accepted = async (id) => (await client.get(`campaigns/${id}/report`)).ledger.accepted;

story('an empty queue says so, and a limit of one’s own is set for a provider found by a domain', async () => {
  await page.goto(`${server.url}/queue`);
  await page.getByText('Nothing waits and nothing is on its way.').waitFor();
  await page.getByText('None: the profiles of the providers count.').waitFor();
  await button('Limits for another provider').click();
  await label('Provider, or a domain whose mail it takes').fill(SLOW);
  await button('Show limits').click();
  await page.waitForURL(/site=/);
  site = new URL(page.url()).searchParams.get('site');
  await dialog().getByText('Nothing waits for this provider now.').waitFor();
  await button('Set own limits').click();
  // Nothing, and nonsense, are not sent.
  await dialog().getByRole('button', { name: 'Save' }).click();
  await dialog().getByText('Set at least one limit').waitFor();
  await label('Messages per hour').fill('-3');
  await dialog().getByRole('button', { name: 'Save' }).click();
  await dialog().getByText('A number above 0').waitFor();
  assert.deepEqual((await client.get('queue/limits')).items, []);
  await label('Messages per hour').fill('60');
  await dialog().getByRole('button', { name: 'Save' }).click();
  await dialog().getByRole('row').filter({ hasText: 'Messages per hour' }).filter({ hasText: 'set by this workspace' }).waitFor();
  assert.equal((await client.get('queue/limits')).items[0].per_hour, 60);
  await dialog().getByRole('button', { name: 'Close' }).click();
  await page.getByText('Messages per hour: 60').waitFor();
});

let first;
story('the table says in a sentence why mail waits, and until when', async () => {
  first = await campaign('Slow bread');
  await client.post(`campaigns/${first.id}/start`, { undo_seconds: 0 });
  // Nobody reloads the page.
  const row = page.getByRole('row').filter({ hasText: site });
  await row.filter({ hasText: 'Waits for the limit of messages per hour.' }).filter({ hasText: 'until' }).waitFor({ timeout: 40_000 });
  assert.deepEqual(await axe(page), []);
  await label('Only what waits').check();
  await row.waitFor();
  await row.getByRole('link').first().click();
  await dialog().getByRole('link', { name: 'Slow bread' }).waitFor();
  await dialog().getByText('Waits for the limit of messages per hour.').first().waitFor();
  assert.deepEqual(await axe(page), []);
  assert.ok((await accepted(first.id)) < ALL, 'the limit is kept');
});

story('without the limit everything leaves at once', async () => {
  await button('Take own limits away').click();
  await dialog().last().getByRole('button', { name: 'Take own limits away' }).click();
  await dialog().getByText('Take own limits away').first().waitFor({ state: 'hidden' });
  assert.deepEqual((await client.get('queue/limits')).items, []);
  await soon('all are accepted', async () => (await accepted(first.id)) === ALL, 40);
  await dialog().getByRole('button', { name: 'Close' }).click();
});

story('the queue is narrowed by a domain, and says where its mail goes', async () => {
  await page.goto(`${server.url}/queue`);
  await page.getByRole('searchbox').fill(`nobody.${SLOW.split('.').slice(1).join('.')}`);
  await page.getByText(/^Mail for nobody\.accept\.test goes to /).waitFor();
});

story('rules of encryption are made with a reason, and removed', async () => {
  await page.goto(`${server.url}/tls`);
  // The hosts of the simulated world offer no STARTTLS here, and nobody asked for it.
  await page.getByRole('row').filter({ hasText: SLOW }).filter({ hasText: 'STARTTLS is not offered' }).first().waitFor({ timeout: 30_000 });
  assert.deepEqual(await axe(page), []);
  await button('Add rule').click();
  await label('Recipient domain').fill('bank.example');
  await dialog().getByRole('radio', { name: /^TLS required/ }).check();
  await dialog().getByRole('button', { name: 'Save' }).click();
  await dialog().getByText('Say why').waitFor();
  assert.deepEqual((await client.get('tls-rules')).items, []);
  await label('Why').fill('agreed with their postmaster');
  await dialog().getByRole('button', { name: 'Save' }).click();
  const row = page.getByRole('row').filter({ hasText: 'bank.example' });
  await row.filter({ hasText: 'TLS required' }).filter({ hasText: 'agreed with their postmaster' }).waitFor();
  assert.equal((await client.get('tls-rules')).items[0].demand, 'encrypted');
  assert.deepEqual(await axe(page), []);
  await row.getByRole('button', { name: /^Delete/ }).click();
  await dialog().getByRole('button', { name: 'Remove rule' }).click();
  await page.getByText('No rule: every domain gets what it asks for itself.').waitFor();
  assert.deepEqual((await client.get('tls-rules')).items, []);
});

story('a look at a sending domain tells each fault with its remedy', async () => {
  const { items } = await client.get('domains');
  await page.goto(`${server.url}/domains/${items[0].id}`);
  await page.getByRole('heading', { name: 'What was found' }).waitFor({ timeout: 30_000 });
  const { checked } = await client.get(`domains/${items[0].id}`);
  for (const finding of checked.findings.filter((f) => f.state !== 'note')) await page.getByText(finding.about, { exact: true }).first().waitFor();
  const red = checked.findings.filter((f) => f.state === 'red').length;
  assert.equal(await page.locator('main li[data-state=red]').count(), red);
  assert.deepEqual(await axe(page), []);
});
