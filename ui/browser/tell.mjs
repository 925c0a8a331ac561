// How stories are told: a picture of every open page when one fails, nothing on a console, and steps that count themselves.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import test from 'node:test';

/** What has to be true soon, asked again and again; the last error is the one that is thrown. For what the server has. */
export async function soon(what, look, seconds = 20) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    let trouble;
    try {
      const got = await look();
      if (got) return got;
    } catch (error) {
      trouble = error;
    }
    if (Date.now() > end) throw trouble ?? new Error(`not in ${seconds} s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** Tells stories about the pages in `opened` (`{ page, faults }`, which may grow). `allowed` are words on the console that are no faults. */
export const teller =
  (opened, allowed = /$^/) =>
  (name, tell) =>
    test(name, async (t) => {
      try {
        await tell(t);
      } catch (error) {
        // What a page looked like says more than what was waited for.
        for (const [n, { page, faults }] of opened.entries()) {
          if (process.env.SHOTS && !page.isClosed()) {
            await page.screenshot({ path: join(process.env.SHOTS, `${name.replaceAll(/[^\w]+/g, '-')}-${n}.png`) }).catch(() => {});
          }
          for (const fault of faults.splice(0)) t.diagnostic(`console: ${fault}`);
        }
        throw error;
      }
      for (const { faults } of opened) assert.deepEqual(faults.splice(0).filter((fault) => !allowed.test(fault)), [], 'errors on the console');
    });

/**
 * Counts what a person does in a page, without the story saying so. One step is
 *   - a page opened by its address (from the console, a bookmark) or by the button "back",
 *   - a click on a button or a link, or the key that does the same: the screen that it opens belongs to it,
 *   - a file that is handed over.
 * Filling in fields, ticking and choosing is part of the step that sends them. What the program opens by itself is no step.
 * Call it before anything is opened.
 */
export async function measured(page) {
  const steps = [];
  const moved = [];
  await page.exposeBinding('__step', ({ frame }, what) => void (frame === page.mainFrame() && steps.push(what)));
  await page.exposeBinding('__moved', ({ frame }, where) => void (frame === page.mainFrame() && moved.push(where)));
  await page.addInitScript(() => {
    if (window !== window.top) return;
    const name = (element) => (element.getAttribute('aria-label') ?? element.textContent ?? '').trim().replaceAll(/\s+/g, ' ').slice(0, 60);
    window.__step(`opened ${location.pathname}`);
    addEventListener(
      'click',
      (event) => {
        if (!event.isTrusted) return;
        const what = event.target instanceof Element && event.target.closest('button, a[href], [role="button"], [role="menuitem"], input[type="submit"], input[type="button"]');
        if (what) window.__step(`${what.localName} “${name(what)}”`);
      },
      true,
    );
    addEventListener('change', (event) => event.target.type === 'file' && window.__step('a file'), true);
    addEventListener('popstate', () => window.__step(`back to ${location.pathname}`));
    for (const how of ['pushState', 'replaceState']) {
      const before = history[how].bind(history);
      history[how] = (...given) => {
        const from = location.pathname;
        before(...given);
        if (location.pathname !== from) window.__moved(location.pathname);
      };
    }
  });
  return {
    /** The steps since it was last asked, and the screens that were seen. */
    take() {
      return { steps: steps.splice(0), screens: moved.splice(0) };
    },
  };
}
