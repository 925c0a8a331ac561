// Watches the live page of one campaign in a real tab until its input is closed: frames, gaps between them, memory. Used by
// bench/live.py --tab; prints "ready", then one object.

import { readFileSync } from 'node:fs';
import { launch, logIn, open } from './look.mjs';

const [url, mailbox, password, campaign] = process.argv.slice(2);
const MB = 1024 * 1024;

/** Memory that the process of this page has to itself, in bytes, and what its thread worked, in seconds. */
async function alone(browser, cdp) {
  const { metrics } = await cdp.send('Performance.getMetrics');
  const metric = (name) => metrics.find((m) => m.name === name)?.value ?? 0;
  const whole = await browser.newBrowserCDPSession();
  const { processInfo } = await whole.send('SystemInfo.getProcessInfo');
  await whole.detach();
  const tabs = processInfo.filter((p) => p.type === 'renderer').map((p) => own(p.id));
  return { heap: metric('JSHeapUsedSize'), tab: Math.max(...tabs), busy: metric('TaskDuration'), at: performance.now() };
}

function own(pid) {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  return [...text.matchAll(/^Private_(?:Clean|Dirty):\s+(\d+) kB/gm)].reduce((sum, [, kb]) => sum + Number(kb) * 1024, 0);
}

const browser = await launch();
const { page } = await open(browser, { viewport: { width: 1280, height: 860 }, reducedMotion: 'no-preference' });
const cdp = await page.context().newCDPSession(page);
await cdp.send('Performance.enable');
await page.goto('about:blank');
const empty = (await alone(browser, cdp)).tab;
await logIn(page, { url, mailbox, password });
await page.goto(`${url}/campaigns/${campaign}`);
await page.locator('main h1').waitFor();
await page.evaluate(() => {
  const gaps = (globalThis.gaps = []);
  let last = performance.now();
  const tick = (now) => {
    gaps.push(now - last);
    last = now;
    requestAnimationFrame(tick);
  };
  requestAnimationFrame(tick);
});
console.log('ready');

let heap = 0;
let tab = 0;
// What the page's own thread works, in seconds: tells a slow page from a machine that is busy with something else.
const begun = await alone(browser, cdp);
const looked = setInterval(async () => {
  const now = await alone(browser, cdp).catch(() => undefined);
  if (!now) return;
  heap = Math.max(heap, now.heap);
  tab = Math.max(tab, now.tab);
}, 1_000);
await new Promise((resolve) => process.stdin.resume().on('end', resolve));
clearInterval(looked);
// The first second belongs to the page's own loading.
const gaps = (await page.evaluate(() => globalThis.gaps)).slice(60);
const ended = await alone(browser, cdp);
const sorted = gaps.toSorted((a, b) => a - b);
const total = gaps.reduce((sum, gap) => sum + gap, 0);
const shown = await page.locator('main').innerText();
await browser.close();
console.log(
  JSON.stringify({
    frames_per_second: (gaps.length / total) * 1000,
    gap_p99_ms: sorted[Math.floor(sorted.length * 0.99)],
    gap_max_ms: sorted.at(-1),
    busy: (ended.busy - begun.busy) / ((ended.at - begun.at) / 1000),
    heap_mb: heap / MB,
    tab_mb: tab / MB,
    empty_mb: empty / MB,
    shown: shown.slice(0, 200),
  }),
);
