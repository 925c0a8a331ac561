// Hostile content everywhere that content can come from: names, subjects, bodies, attributes, file names and the replies of a
// remote host. Nothing of it may run, load or change the pages, and our own policy must have had nothing to stop outside previews.

import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import test from 'node:test';
import { Client } from './client.mjs';
import { calm, launch, logIn, open } from './look.mjs';
import { fresh, world } from './program.mjs';
import { ids, screens } from './screens.mjs';

const RUN = "window.__ran=(window.__ran||0)+1";
/** What would run, load, send or restyle if a page took it for structure. */
const CORES = [
  `<script>${RUN}</script>`,
  `<img src=x onerror="${RUN}">`,
  `<svg onload="${RUN}"></svg>`,
  `<svg><script>${RUN}</script></svg>`,
  `<iframe srcdoc="<script>parent.__ran=1</script>"></iframe>`,
  `<a href="javascript:${RUN}" class="planted">x</a>`,
  `<form action="http://127.0.0.9:1/steal" class="planted"><input autofocus onfocus="${RUN}"></form>`,
  `<details open ontoggle="${RUN}">x</details>`,
  `<style>*{display:none!important}</style>`,
  `<link rel=stylesheet href="http://127.0.0.9:1/x.css">`,
  `<base href="http://127.0.0.9:1/">`,
  `<meta http-equiv=refresh content="0;url=http://127.0.0.9:1/">`,
  `<object data="http://127.0.0.9:1/x"></object>`,
  `<embed src="http://127.0.0.9:1/x">`,
  `<video src=x onerror="${RUN}"></video>`,
  `<math><mtext><img src=x onerror="${RUN}"></mtext></math>`,
  `<template><script>${RUN}</script></template><b class="planted">x</b>`,
  `<body onload="${RUN}">`,
  `<marquee onstart="${RUN}">x</marquee>`,
  `<input type=image src=x onerror="${RUN}">`,
];
const WRAPS = [
  (p) => p,
  (p) => `"'>${p}`,
  (p) => `</title></textarea></option>${p}`,
  (p) => `-->${p}<!--`,
  (p) => `]]>${p}`,
  (p) => `\u202e${p}`,
  (p) => p.toUpperCase().replaceAll('WINDOW.__RAN', 'window.__ran'),
  (p) => `{@html ${p}}`,
  (p) => `\${${p}}`,
  (p) => `&lt;${p}&#x3c;`,
];
const PAYLOADS = CORES.flatMap((core) => WRAPS.map((wrap) => wrap(core)));

/** A mail host that says a hostile sentence to every recipient. */
function rudeHost() {
  let said = 0;
  const server = createServer((socket) => {
    let data = false;
    socket.on('error', () => {});
    socket.write('220 rude.test ESMTP\r\n');
    let rest = '';
    socket.on('data', (chunk) => {
      rest += chunk;
      const lines = rest.split('\r\n');
      rest = lines.pop();
      for (const line of lines) {
        if (data) {
          if (line === '.') {
            data = false;
            socket.write('250 2.0.0 ok\r\n');
          }
          continue;
        }
        const verb = line.slice(0, 4).toUpperCase();
        if (verb === 'RCPT') {
          // Replies are ASCII, and lines end where the payload would break them.
          socket.write(`550 5.1.1 ${PAYLOADS[said % PAYLOADS.length].replace(/[^\x20-\x7e]/g, '?')}\r\n`);
          said += 1;
        } else if (verb === 'DATA') socket.write('503 5.5.1 nobody\r\n');
        else if (verb === 'QUIT') socket.end('221 2.0.0 bye\r\n');
        else socket.write('250 ok\r\n');
      }
    });
  });
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve({ port: server.address().port, stop: () => server.close(), said: () => said })));
}

/** A cell of CSV. */
const cell = (text) => `"${text.replaceAll('"', '""')}"`;

test('two hundred hostile texts run nothing on any screen', async () => {
  assert.equal(PAYLOADS.length, 200);
  const [rude, sim, browser] = [await rudeHost(), await world(), await launch()];
  const server = await fresh(sim.env);
  try {
    const client = new Client(server.url);
    const p = (n) => PAYLOADS[n % PAYLOADS.length];
    await client.setUp(
      server.code,
      { mailbox: 'anna@example.org', name: p(3), password: 'correct horse battery' },
      { name: p(0).slice(0, 90), public_url: server.url, controller_name: p(1), postal_address: p(2), privacy_url: 'https://example.org/privacy' },
    );
    await client.post('domains', { name: 'accept.test' });
    await client.post('routes', { is_default: true, settings: { name: p(11), kind: 'smarthost', host: '127.0.0.1', port: rude.port, tls: 'none' } });
    const list = await client.post('lists', { name: p(21), description: p(22) });
    const purpose = await client.post('purposes', { kind: 'newsletter', name: p(31) });
    const wording = await client.post(`purposes/${purpose.id}/wordings`, { text: p(41), language: 'en' });
    const rows = PAYLOADS.map((text, n) => `p${n}@mail${n % 5}.accept.test,${cell(text)},${cell(PAYLOADS[(n + 7) % 200])}`);
    // And rows that are refused, with hostile words in their columns.
    rows.push(...PAYLOADS.slice(0, 20).map((text) => `${cell(text)},x,y`));
    const params = JSON.stringify({ lists: [list.id], consent: { source: p(51), basis: 'consent', given_at: '2026-01-01T00:00:00Z', purpose: purpose.id, wording: wording.id } });
    const query = new URLSearchParams({ file_name: `${p(61)}.csv`, params });
    const imported = await client.post(`imports?${query}`, `email,first_name,city\n${rows.join('\n')}\n`, { 'content-type': 'text/csv' });
    await client.until('the import is done', async () => (await client.get(`imports/${imported.id}`)).state === 'done');
    const body = `<html><body><h1>{{ first_name|default('x') }} {{ city|default('y') }}</h1>${PAYLOADS.slice(0, 120).join('\n')}</body></html>`.replaceAll('{@html', '{ @html').replaceAll('{{ @', '{ {@');
    const draft = { body, format: 'html', from_mailbox: 'news@accept.test', from_name: p(71).replace(/[^\x20-\x7e]/g, '?'), subject: p(81), preheader: p(91) };
    const campaign = await client.post('campaigns', { name: p(101), audience: { include: [list.id], purpose: purpose.id }, draft, policy: 'rehearsal' });
    // A draft with these words may be refused by the check; then a plain one is sent, and the hostile one stays as the draft.
    const plain = await client.post('campaigns', {
      name: p(111), policy: 'rehearsal', audience: { include: [list.id], purpose: purpose.id },
      draft: { ...draft, body: "<p>Hello {{ first_name|default('x') }}</p>", subject: 'News', preheader: '' },
    });
    await client.post(`campaigns/${plain.id}/start`, { undo_seconds: 0 });
    await client.until('the campaign is done', async () => (await client.get(`campaigns/${plain.id}`)).state === 'done', 120);
    assert.ok(rude.said() >= 150, `the host was asked ${rude.said()} times`);
    const known = { ...(await ids(client)), campaign: plain.id, draft: campaign.id };

    const { page, context, faults } = await open(browser, { viewport: { width: 1280, height: 900 } });
    await logIn(page, { url: server.url, mailbox: 'anna@example.org', password: 'correct horse battery' });
    const loads = [];
    context.on('request', (request) => {
      const { hostname, protocol } = new URL(request.url());
      if (protocol.startsWith('http') && !request.url().startsWith(server.url)) loads.push(`${hostname} from ${page.url()}`);
    });
    page.on('dialog', (dialog) => {
      faults.push(`a dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
    for (const [name, path] of Object.entries(screens(known))) {
      await page.goto(server.url + path);
      await calm(page);
      const seen = await page.evaluate(() => ({
        ran: window.__ran ?? 0,
        planted: document.querySelectorAll('.planted, main marquee, main object, main embed, base').length,
        policy: document.title.length,
        shown: getComputedStyle(document.querySelector('main')).display,
        at: location.origin,
      }));
      assert.equal(seen.ran, 0, `${name}: something ran`);
      assert.equal(seen.planted, 0, `${name}: a planted element is in the page`);
      assert.notEqual(seen.shown, 'none', `${name}: a planted style works`);
      assert.equal(seen.at, server.url, `${name}: the page was led away`);
      for (const frame of page.frames().filter((f) => f !== page.mainFrame())) {
        const ran = await frame.evaluate(() => window.__ran ?? 0).catch(() => 0);
        assert.equal(ran, 0, `${name}: something ran in a frame`);
      }
      // Inside the frame of a message our policy does its work, and says so; on the page itself it must have had none.
      const ours = faults.splice(0).filter((fault) => !/frame|sandbox/i.test(fault) || name !== 'write');
      if (name !== 'write' && name !== 'templates') assert.deepEqual(ours, [], name);
    }
    // Bodies name 127.0.0.9 in links to styles, frames and images; only images of a message may be asked for.
    assert.deepEqual(loads.filter((load) => !load.includes('/write')), []);
    await context.close();
  } finally {
    await browser.close();
    await server.stop();
    sim.stop();
    rude.stop();
  }
});
