// A browser that notes what must not happen: errors on the console, refused loads, scripts that ran though they must not.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** Debian's browser. */
export const launch = () =>
  chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu'] });

/** A page of its own with its faults, which the caller looks at. `bypassCSP` stays off: our policy is part of what is tested. */
export async function open(browser, options = {}) {
  const { language = 'en', ...rest } = options;
  const context = await browser.newContext({ locale: { en: 'en-GB', it: 'it-IT', pl: 'pl-PL' }[language], timezoneId: 'Europe/Rome', reducedMotion: 'reduce', ...rest });
  const page = await context.newPage();
  const faults = [];
  page.on('console', (message) => {
    // A refused log-in, a right that is not there, a missing thing and a check with findings are answers, not faults.
    if (message.type() === 'error' && !/status of (400|401|403|404|409|422|503)/.test(message.text())) faults.push(message.text());
  });
  page.on('pageerror', (error) => faults.push(String(error)));
  return { context, page, faults };
}

/** What axe finds that is serious or critical (WCAG 2.2 A and AA). */
export async function axe(page) {
  // Evaluated by the debugger, so the page's policy does not forbid it.
  await page.evaluate(axeSource);
  const { violations } = await page.evaluate(() =>
    globalThis.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'], resultTypes: ['violations'] }),
  );
  return violations
    .filter((v) => v.impact === 'serious' || v.impact === 'critical')
    .map((v) => `${v.id}: ${v.nodes.map((n) => `${n.target.join(' ')} (${n.any[0]?.message ?? n.failureSummary})`).join('; ')}`);
}

/** Logs in as the person of a demo. */
export async function logIn(page, { url, mailbox, password }, to = '/') {
  await page.goto(url + to);
  await page.locator('input[type=email]').fill(mailbox);
  await page.locator('input[type=password]').fill(password);
  await page.locator('form button').last().click();
  await page.locator('main h1').waitFor();
}

/** Until nothing moves: no request for half a second, fonts there. */
export async function calm(page) {
  await page.locator('main h1, .gate').first().waitFor();
  await page.waitForFunction(() => !document.querySelector('.skeleton'), undefined, { timeout: 15_000 });
  await page.waitForTimeout(350);
}
