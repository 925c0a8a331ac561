// Pictures of every screen, wide, narrow, dark and in three languages, and what axe says of each. Somebody has to look at them.
//
//   node browser/shots.mjs FOLDER [--only NAME,NAME] [--ways NAME,NAME] [--no-pictures]

import { mkdirSync } from 'node:fs';
import { Client } from './client.mjs';
import { axe, calm, launch, logIn, open } from './look.mjs';
import { demo } from './program.mjs';
import { ids, screens, unseen } from './screens.mjs';

const folder = process.argv[2] ?? 'screenshots';
/** The names behind a word of the command line; nothing when it is not there. */
const names = (word) => (process.argv.includes(word) ? process.argv[process.argv.indexOf(word) + 1].split(',') : undefined);
const [only, ways] = [names('--only'), names('--ways')];
const pictures = !process.argv.includes('--no-pictures');

const WAYS = [
  { name: 'wide', viewport: { width: 1280, height: 860 } },
  { name: 'dark', viewport: { width: 1280, height: 860 }, colorScheme: 'dark' },
  { name: 'narrow', viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true },
  { name: 'it', viewport: { width: 1280, height: 860 }, language: 'it' },
  { name: 'pl', viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, language: 'pl', colorScheme: 'dark' },
].filter(({ name }) => ways?.includes(name) ?? true);

const server = await demo();
const browser = await launch();
const bad = unseen().map((pattern) => `${pattern}: registered, but not among the screens that are looked at`);
let looked = 0;
try {
  mkdirSync(folder, { recursive: true });
  const client = new Client(server.url);
  await client.post('session', { mailbox: server.mailbox, password: server.password });
  const all = screens(await ids(client));
  for (const way of WAYS) {
    const { name, ...options } = way;
    const { context, page, faults } = await open(browser, options);
    await logIn(page, server);
    for (const [screen, path] of Object.entries(all)) {
      if (only && !only.includes(screen)) continue;
      await page.goto(server.url + path);
      await calm(page).catch((error) => bad.push(`${screen} ${name}: ${error.message.split('\n')[0]}`));
      for (const found of await axe(page)) bad.push(`${screen} ${name}: axe ${found}`);
      const wider = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      if (wider > 1) bad.push(`${screen} ${name}: ${wider} px wider than the window`);
      for (const fault of faults.splice(0)) bad.push(`${screen} ${name}: ${fault}`);
      // Code editors measure their lines when they come into sight; a picture of the whole page does not wait for that.
      await page.evaluate(async () => {
        for (const one of document.querySelectorAll('main .code, main iframe')) {
          one.scrollIntoView({ block: 'center' });
          await new Promise((done) => setTimeout(done, 300));
        }
        scrollTo(0, 0);
      });
      looked += 1;
      if (!pictures) continue;
      // A frame in a process of its own is drawn only where the window is.
      const framed = await page.locator('main iframe').count();
      if (framed) {
        const height = await page.evaluate(() => document.documentElement.scrollHeight);
        await page.setViewportSize({ ...options.viewport, height });
        await page.waitForTimeout(1_000);
      }
      await page.screenshot({ path: `${folder}/${screen}-${name}.png`, fullPage: true });
      if (framed) await page.setViewportSize(options.viewport);
    }
    await context.close();
  }
  // Before anybody is logged in.
  if (!only || only.includes('login')) {
    for (const way of WAYS) {
      const { name, ...options } = way;
      const { context, page, faults } = await open(browser, options);
      await page.goto(server.url);
      await calm(page);
      for (const found of await axe(page)) bad.push(`login ${name}: axe ${found}`);
      for (const fault of faults) bad.push(`login ${name}: ${fault}`);
      if (pictures) await page.screenshot({ path: `${folder}/login-${name}.png` });
      looked += 1;
      await context.close();
    }
  }
} finally {
  await browser.close();
  await server.stop();
}
console.log(`${looked} screens looked at, ${bad.length} faults${pictures ? `; pictures in ${folder}` : ''}`);
for (const fault of bad) console.log(`  ${fault}`);
if (bad.length) process.exit(1);
