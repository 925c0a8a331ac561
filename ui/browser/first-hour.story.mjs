// The first hour of a newcomer, told in a browser from set-up to the report. Each story counts its steps: screens opened and
// decisions taken (shared/reference/ui.md 5.4 sets how many are too many).

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { after, before } from 'node:test';
import { launch, open } from './look.mjs';
import { fresh, world } from './program.mjs';

let browser, sim, server, page, context, faults;
let steps = 0;
/** One screen opened or one decision taken. */
const step = async (does) => {
  steps += 1;
  return does;
};
/** Tells a story and compares its steps. */
const story = (name, most, tell) =>
  test(name, async (t) => {
    steps = 0;
    try {
      await tell(t);
    } catch (error) {
      // What the page looked like says more than what was waited for.
      if (process.env.SHOTS) await page.screenshot({ path: join(process.env.SHOTS, `${name.replaceAll(' ', '-')}.png`), fullPage: true });
      throw error;
    }
    assert.ok(steps <= most, `${steps} steps, at most ${most} are wanted`);
    t.diagnostic(`${steps} of at most ${most} steps`);
    assert.deepEqual(faults.splice(0), [], 'errors on the console');
  });

before(async () => {
  browser = await launch();
  sim = await world();
  server = await fresh(sim.env);
  ({ page, context, faults } = await open(browser, { viewport: { width: 1280, height: 860 } }));
  page.setDefaultTimeout(20_000);
});
after(async () => {
  await context?.close();
  await browser?.close();
  await server?.stop();
  await sim?.stop();
});

const label = (text) => page.getByLabel(text, { exact: true });
const button = (name) => page.getByRole('button', { name });
/** The state of the newest campaign, as its page says it. */
const heading = (name) => page.getByRole('heading', { name, level: 1 });

story('1 the first sign-in', 2, async () => {
  await step(page.goto(server.url));
  await label('Set-up code').fill(server.code);
  await label('Your mail address').fill('anna@accept.test');
  await label('Password').fill('correct horse battery staple');
  await label('Organisation or person').fill('Bakery Ltd');
  await label('Postal address').fill('Via Roma 1, 27100 Pavia, Italy');
  await step(button('Create account').click());
  await heading('Your sending domain').waitFor();
});

story('2 being allowed to send', 3, async () => {
  await step(page.getByRole('button', { name: /add/i }).first().click());
  // The records to publish are there, each to be copied.
  await page.getByText('_domainkey').first().waitFor();
  assert.ok((await page.getByRole('button', { name: 'Copy' }).count()) >= 3, 'records with copy buttons');
  await step(page.getByRole('link', { name: /how mail leaves/i }).or(page.getByRole('button', { name: /how mail leaves/i })).first().click());
  await page.getByText('This server already sends into the simulated world').waitFor();
  await step(button('Send directly').click());
  await page.getByText('Mail leaves directly').waitFor();
});

story('3 importing contacts', 3, async () => {
  // Purposes come with the workspace; the wording is what the form on the old page said.
  const rows = Array.from({ length: 40 }, (_, n) => `person${n}@mail${n % 4}.accept.test,Name${n},Pavia`);
  rows.push('not an address,Nobody,Pavia', 'gone@unknown.test,Gone,Pavia', 'full@full.test,Full,Pavia', 'anna@gmial.con,Anna,Pavia');
  const file = join(server.folder, 'regulars.csv');
  writeFileSync(file, `E-mail,first_name,city\n${rows.join('\n')}\n`);
  await step(page.goto(`${server.url}/imports/new`));
  await page.locator('input[type=file]').setInputFiles(file);
  await page.getByText('Yes, and I can say when, how and to what').click();
  await page.getByLabel('Purpose').selectOption({ index: 1 });
  await page.getByLabel('Wording that the person saw').selectOption({ index: 1 });
  await label('Where do these people come from?').fill('the form at the counter');
  await label('When did they agree?').fill('2026-05-01');
  await step(page.getByRole('button', { name: /^Import / }).first().click());
  await page.waitForURL(/\/imports\/imp_/);
  await page.getByText('Download these rows').waitFor({ timeout: 60_000 });
});

story('4 seeing who failed', 1, async () => {
  await page.getByText(/rows? (was|were) not imported/).first().waitFor();
  const [download] = await Promise.all([page.waitForEvent('download'), step(page.getByText('Download these rows').click())]);
  const text = await (await import('node:fs/promises')).readFile(await download.path(), 'utf8');
  assert.ok(text.includes('not an address'), text);
  assert.ok(text.includes('gmial.con'), text);
});

story('6 writing', 2, async () => {
  await step(page.goto(`${server.url}/campaigns`));
  await step(page.getByRole('button', { name: 'New campaign' }).or(page.getByRole('link', { name: 'New campaign' })).first().click());
  await page.waitForURL(/\/write$/);
  await label('Name of the campaign').fill('Autumn at the bakery');
  await page.getByLabel('From: name').fill('Bakery');
  const from = page.getByLabel('From: address');
  if (!(await from.inputValue())) await from.fill('news@accept.test');
  await page.getByLabel(/^Subject/).first().fill('Autumn bread is here');
  await page.getByLabel('regulars').first().check().catch(() => {});
  const purpose = page.getByLabel('Purpose').first();
  if (await purpose.isVisible()) await purpose.selectOption({ index: 1 });
  await page.getByRole('status').filter({ hasText: 'Saved' }).first().waitFor();
});

story('7 a test to any address', 1, async () => {
  await button('Send a test').click();
  await page.getByLabel('To', { exact: true }).fill('anybody@accept.test');
  await step(button('Send the test').click());
  await page.getByText('A test is on its way').first().waitFor();
  await page.keyboard.press('Escape');
});

story('8 checks run by themselves', 0, async () => {
  await page.getByRole('heading', { name: 'Checks' }).waitFor();
});

story('9 sending', 2, async () => {
  await step(button('Review and send').click());
  await page.waitForURL(/\/review$/);
  await step(button(/^Send to \d+ people/).click());
  await page.waitForURL(/\/campaigns\/cmp_\w+$/);
  // The countdown in which it can be taken back.
  await page.getByRole('button', { name: 'Take it back' }).first().waitFor();
});

story('10 watching it, and 11 reading what happened', 1, async () => {
  // Nobody reloads: the page turns from countdown to live view to report by itself.
  await page.locator('main h1 + .status', { hasText: 'done' }).waitFor({ timeout: 150_000 });
  await step(page.goto(`${page.url()}/people`));
  await page.getByText('1 of').first().waitFor();
});

// One more step than the plan has: the person is found, then erased.
story('12 erasing somebody', 2, async () => {
  await page.goto(`${server.url}/contacts?search=person3%40`);
  await step(page.getByRole('link', { name: /person3@/ }).first().click());
  await page.waitForURL(/\/contacts\/con_/);
  await page.getByRole('button', { name: /erase/i }).first().click();
  await page.getByRole('dialog').locator('input').last().fill('person3@mail3.accept.test');
  await step(page.getByRole('dialog').getByRole('button', { name: /erase/i }).click());
  await page.locator('dialog[open]').waitFor({ state: 'detached' });
  await page.goto(`${server.url}/contacts?search=person4%40`);
  await page.getByRole('link', { name: /person4@/ }).first().waitFor();
  await page.goto(`${server.url}/contacts?search=person3%40`);
  await page.getByRole('link', { name: /person4@/ }).waitFor({ state: 'detached' });
  await page.waitForTimeout(1_000);
  assert.equal(await page.getByRole('link', { name: /person3@/ }).count(), 0, 'the book does not know the person any more');
});
