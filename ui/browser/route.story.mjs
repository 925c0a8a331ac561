// A dedicated SMTP server as the only way out: its login, its own words when the password is wrong, and its 500 messages a day.

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { launch, logIn, open } from './look.mjs';
import { fresh, world } from './program.mjs';
import { certificate, header, sink } from './sink.mjs';
import { ANNA, people, settled } from './stage.mjs';
import { soon, teller } from './tell.mjs';

const [MOST, ALL] = [500, 700];
const LOGIN = { user: 'newsletter@dedicated.test', password: 'rye and wheat', refusal: '535 5.7.8 Giulia at the desk says: this password expired on Monday' };
/** A zone in which it is neither just before nor just after midnight while this runs. */
const ZONE = ['Europe/Rome', 'Asia/Tokyo', 'America/Los_Angeles'].find((timeZone) => {
  const hour = Number(new Intl.DateTimeFormat('en-GB', { timeZone, hour: '2-digit' }).format());
  return hour >= 1 && hour < 23;
});

const opened = [];
const story = teller(opened);
let browser, sim, host, server, client, page, audience;

before(async () => {
  host = await sink({ login: LOGIN, tls: certificate() });
  [sim, browser] = await Promise.all([world(), launch()]);
  server = await fresh(sim.env);
  client = await settled(server, { time_zone: ZONE });
  audience = await people(client, Array.from({ length: ALL }, (_, n) => `reader${n}@mail${n % 7}.accept.test`));
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
  host?.stop();
});

const label = (text) => page.getByLabel(text, { exact: true });
const talk = () => page.getByRole('list', { name: 'Dialogue with the server' });

story('a wrong password gives the words of the server', async () => {
  await page.goto(`${server.url}/routes`);
  await page.getByRole('link', { name: 'Add route' }).first().click();
  await label('Server').fill('127.0.0.1');
  await label('Port').fill(String(host.port));
  await label('Requires authentication').check();
  await label('User').fill(LOGIN.user);
  await label('Password').fill('white bread only');
  await label('Messages per day').fill(String(MOST));
  await page.getByText('More settings', { exact: true }).click();
  await page.getByRole('checkbox', { name: /Accept any certificate/ }).check();
  await label('Use it for everything that names no other route').check();
  assert.equal(await page.locator('form select').first().inputValue(), 'required', 'TLS is wanted unless somebody says otherwise');
  await page.getByRole('button', { name: 'Save and test' }).click();
  await page.waitForURL(/\/routes\/rte_/);
  await talk().getByText('Giulia at the desk says: this password expired on Monday').waitFor();
  await page.locator('.status').filter({ hasText: 'does not work' }).first().waitFor();
  // Nothing that was typed is lost.
  assert.equal(await label('Server').inputValue(), '127.0.0.1');
  assert.equal(await label('User').inputValue(), LOGIN.user);
  assert.equal(await label('Messages per day').inputValue(), String(MOST));
  assert.ok(!(await page.content()).includes('white bread only'), 'the password is not shown again');
});

story('the right password works', async () => {
  await label('Password').fill(LOGIN.password);
  await page.getByRole('button', { name: 'Save and test' }).click();
  await talk().getByText('AUTH PLAIN LOGIN').waitFor();
  await talk().getByText(/TLSv?1/).waitFor();
  await page.locator('.status').filter({ hasText: 'works' }).first().waitFor();
  assert.equal(host.messages.length, 0, 'a test sends nothing');
});

// That the rest leaves after midnight is told by the engine's own test, whose clock can be wound by hand
// (`a_day_is_kept_and_the_rest_leaves_after_midnight`); the clock of the real program cannot, so here it is what the page says of it.
story('five hundred leave today, two hundred wait for the next day', async () => {
  const campaign = await client.post('campaigns', {
    name: 'Seven hundred readers', audience, policy: 'rehearsal',
    draft: { body: 'Hello.', format: 'text', subject: 'Hello', from_mailbox: 'news@accept.test', from_name: 'Bakery' },
  });
  await page.goto(`${server.url}/campaigns/${campaign.id}`);
  await page.locator('main h1').waitFor();
  await client.post(`campaigns/${campaign.id}/start`, { undo_seconds: 0 });
  await soon('five hundred came', () => host.messages.length >= MOST, 120);
  const waiting = page.getByText(/Waiting: daily limit/);
  await waiting.waitFor({ timeout: 30_000 });
  const said = await waiting.innerText();
  assert.match(said, /\b500\b/);
  assert.match(said, /\b200 people wait\b/);
  assert.ok(said.includes(ZONE), said);
  // The next day there, as the clock here (Europe/Rome) shows it.
  const there = (at) => new Intl.DateTimeFormat('en-CA', { timeZone: ZONE }).format(at);
  let midnight = Math.ceil(Date.now() / 900_000) * 900_000;
  while (there(midnight) === there(Date.now())) midnight += 900_000;
  const shown = new Intl.DateTimeFormat('en-GB', { timeZone: 'Europe/Rome', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' }).format(midnight);
  assert.ok(said.includes(shown), `${said}: should say ${shown}`);
  // Both numbers stand among the totals, and lead to the people.
  const total = (name) => page.getByRole('link', { name, exact: true });
  await total('accepted: 500').waitFor();
  await total('waiting: 200').waitFor();
  await total('waiting: 200').click();
  await page.waitForURL(/people\?status=QUEUED/);
  await page.locator('main table').getByText(/reader\d+@/).first().waitFor();
  assert.equal(host.messages.length, MOST, 'not one more');
  assert.equal(new Set(host.messages.map((message) => header(message, 'To'))).size, MOST, 'nobody twice');
  const { ledger } = await client.get(`campaigns/${campaign.id}/report`);
  assert.deepEqual([ledger.accepted, ledger.queued], [MOST, ALL - MOST]);
});
