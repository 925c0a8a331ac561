// Hostile content everywhere that content can come from: names, subjects, bodies, attributes, file names and the replies of a
// remote host. Nothing of it may run, load or change the pages, and our own policy must have had nothing to stop outside previews.

import assert from 'node:assert/strict';
import { createServer as createHttp } from 'node:http';
import { createServer } from 'node:net';
import test from 'node:test';
import { Client } from './client.mjs';
import { calm, launch, logIn, open } from './look.mjs';
import { fresh, world } from './program.mjs';
import { ids, screens } from './screens.mjs';
import { ANNA, settled } from './stage.mjs';
import { soon } from './tell.mjs';

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
          // Every second mailbox is full: of a host that knows nobody at all we would believe nothing, and wait.
          socket.write(`${said % 2 ? '552 5.2.2' : '550 5.1.1'} ${PAYLOADS[said % PAYLOADS.length].replace(/[^\x20-\x7e]/g, '?')}\r\n`);
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
    // All of them are refused; that is what we want here, so no alarm may stop the campaign for it.
    const alarms = await client.get('alarms/settings');
    await client.call('PUT', 'alarms/settings', { ...alarms, pause_on_bounces: false });
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

/** A host elsewhere that notes what is asked of it. */
function elsewhere() {
  const asked = [];
  const server = createHttp((request, response) => {
    asked.push(request.url);
    response.writeHead(200, { 'content-type': 'text/plain', 'access-control-allow-origin': '*' }).end('x');
  });
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve({ url: `http://127.0.0.1:${server.address().port}`, asked, stop: () => { server.closeAllConnections(); server.close(); } })));
}

/** A message that tries everything; only what is named `picture` may be asked for. */
const nasty = (from) => `<!doctype html><html><head><base href="${from}/base/"><meta http-equiv="refresh" content="0;url=${from}/refresh">
<link rel="stylesheet" href="${from}/style.css"><link rel="preload" as="script" href="${from}/preload.js"><link rel="prefetch" href="${from}/prefetch"><link rel="modulepreload" href="${from}/module.js"><link rel="icon" href="${from}/icon"><link rel="manifest" href="${from}/manifest">
<style>@import url(${from}/import.css); @font-face { font-family: far; src: url(${from}/font.woff2) } body { font-family: far; background: url(${from}/picture-ground) } html, body, p { position: fixed !important; inset: 0 !important; z-index: 2147483647 !important; width: 9000px !important; height: 9000px !important }</style>
<script>${RUN};parent.parent.__ran=1</script><script src="${from}/script.js"></script><script type="module" src="${from}/module.js"></script></head>
<body onload="${RUN}" onpageshow="${RUN}"><p id="marker">the message is here</p>
<form id="form" action="${from}/form" method="post"><input name="password" value="x" autofocus onfocus="${RUN}"><button id="send">x</button><input type="image" src="${from}/picture-button"></form>
<a id="script" href="javascript:parent.parent.__ran=1">x</a><a id="top" target="_top" href="${from}/top">x</a><a id="parent" target="_parent" href="${from}/parent">x</a><a id="blank" target="_blank" href="${from}/blank">x</a><a id="self" href="${from}/self">x</a><a id="ping" ping="${from}/ping" href="#marker">x</a><a id="download" download href="${from}/download">x</a>
<iframe src="${from}/frame"></iframe><iframe srcdoc="<script>top.__ran=1</script><img src='${from}/picture-inner'>"></iframe><iframe src="javascript:top.__ran=1"></iframe><frameset><frame src="${from}/frame2"></frameset>
<object data="${from}/object"></object><embed src="${from}/embed"><applet code="${from}/applet"></applet><portal src="${from}/portal"></portal>
<svg onload="${RUN}"><script>${RUN}</script><use href="${from}/use.svg#x"/><image href="${from}/picture-svg"/><foreignObject><body onload="${RUN}"></body></foreignObject><animate onbegin="${RUN}" attributeName="x" dur="1s"/></svg>
<img src="${from}/picture-plain" onerror="${RUN}"><img srcset="${from}/picture-set 1x"><picture><source srcset="${from}/picture-source"><img></picture><table background="${from}/picture-table"><tr><td>x</td></tr></table>
<video src="${from}/video" autoplay onerror="${RUN}" poster="${from}/picture-poster"></video><audio src="${from}/audio" autoplay></audio><video><track src="${from}/track" default></video>
<details open ontoggle="${RUN}">x</details><dialog open onclose="${RUN}">x</dialog><div popover id="pop">x</div><button id="pops" popovertarget="pop">x</button>
<template shadowrootmode="open"><img src="${from}/picture-shadow"><script>${RUN}</script></template><math><mtext><img src=x onerror="${RUN}"></mtext></math><noscript><img src="${from}/picture-noscript"><iframe src="${from}/noscript"></iframe></noscript></body></html>`;

/** A document whose every value tries to be markup or further CSS. */
function hostileBlocks(from) {
  const css = `red;background:url(${from}/css);position:fixed`;
  const html = `<p style="${css}" onclick="${RUN}">rich</p><img src="${from}/rich" onerror="${RUN}"><script>${RUN}</script><style>@import url(${from}/rich.css)</style><svg onload="${RUN}"></svg><iframe src="${from}/rich-frame"></iframe><a href="javascript:${RUN}">x</a><!--<img src="--><img src=x onerror=${RUN}>">`;
  const looks = { align: css, color: css, text_color: css, line: css, size: css, width: css, height: css, thickness: css, level: css, frame: { background: css, padding_top: css, padding_side: css } };
  const types = ['heading', 'text', 'image', 'button', 'divider', 'spacer', 'social', 'quote', 'products', 'video', 'html', 'footer'];
  const block = (type, n) => ({ id: `b${n}`, type, ...looks, text: html, html, src: `${from}/src`, image: `${from}/image`, alt: html, label: html, href: 'javascript:parent.__ran=1', author: html, caption: html, links: [{ network: css, href: css, label: html }, null], items: [{ name: html, price: css }, 3], total: { label: html, value: css } });
  return {
    version: 1,
    theme: { background: css, surface: css, text: css, accent: css, font: css, heading_font: 'constructor', font_size: css, radius: css, width: css },
    blocks: [
      { id: 'cols', type: 'columns', vertical_align: css, columns: [{ width: css, blocks: [block('heading', 90)] }, { width: 50, blocks: [block('divider', 91)] }] },
      { id: 'when', type: 'conditional', when: { variable: html, is: css, value: html }, blocks: [block('text', 92)] },
      ...types.map(block),
    ],
  };
}

test('a hostile message runs nothing in its frame and loads pictures only', async (t) => {
  const [far, browser, server] = [await elsewhere(), await launch(), await fresh()];
  try {
    const client = await settled(server);
    const envelope = { subject: 'News', from_mailbox: 'news@accept.test', from_name: 'Bakery' };
    const plain = await client.post('campaigns', { name: 'Frame', draft: { ...envelope, body: '<p>x</p>', format: 'html' } });
    const through = await client.post('campaigns', { name: 'Through', draft: { ...envelope, body: nasty(far.url), format: 'html' } });

    const { page, context } = await open(browser, { viewport: { width: 1400, height: 1000 } });
    // What our policy had to stop on the pages themselves is a fault of ours; inside the frames it is what the policy is for.
    const ours = [];
    let inside = 0;
    await page.exposeBinding('__violated', (_, where, what) => {
      if (where.endsWith('/frame.html') || where.startsWith('about')) inside += 1;
      else ours.push(`${where}: ${what}`);
    });
    await page.addInitScript(() => addEventListener('securitypolicyviolation', (event) => window.__violated(event.documentURI, `${event.violatedDirective} ${event.blockedURI}`)));
    page.on('console', (message) => {
      if (message.type() !== 'error' || /status of (400|401|403|404|409|422)/.test(message.text())) return;
      const { url } = message.location();
      // A message without a place comes from a frame; what happens on the page itself is told by the event above.
      // Our own answers refuse to be parts of a message.
      if (!url || url.startsWith('about:') || /ERR_BLOCKED_BY_RESPONSE/.test(message.text()) || /\/frame\.(html|js)$/.test(url) || /about:srcdoc|frame-src|sandboxed/.test(message.text())) inside += 1;
      else ours.push(`console at ${url}: ${message.text()}`);
    });
    page.on('pageerror', (error) => ours.push(String(error)));
    page.on('dialog', (dialog) => { ours.push(`a dialog: ${dialog.message()}`); void dialog.dismiss(); });
    page.on('popup', () => ours.push('a window was opened'));
    page.on('download', () => ours.push('a file was sent to the disk'));
    await logIn(page, { url: server.url, ...ANNA });

    const sound = async (where) => {
      assert.equal(await page.evaluate(() => window.__ran ?? 0), 0, `${where}: something ran`);
      // Frames whose address the policy refused have nothing that could be asked.
      for (const frame of page.frames().slice(1)) {
        const ran = await Promise.race([frame.evaluate(() => window.__ran ?? 0).catch(() => 0), new Promise((done) => setTimeout(done, 1_000, 0))]);
        assert.equal(ran, 0, `${where}: something ran in ${frame.url()}`);
      }
      assert.deepEqual(ours, [], where);
      assert.ok(page.url().startsWith(server.url), `${where}: led away to ${page.url()}`);
    };
    const onlyPictures = (where) => assert.deepEqual(far.asked.filter((path) => !/^(\/base)?\/(picture|x$)/.test(path)), [], `${where}: loaded from elsewhere`);
    const message = () => soon('the message is in its frame', async () => {
      const inner = page.frames().find((frame) => frame.url() === 'about:srcdoc' && frame.parentFrame()?.url().endsWith('/frame.html'));
      return inner && (await inner.locator('#marker').count()) ? inner : undefined;
    });

    // The frame alone, with a message that nobody has cleaned.
    await page.route('**/api/v1/campaigns/*/preview*', async (route) => {
      const answer = await route.fetch();
      await route.fulfill({ response: answer, json: { ...(await answer.json()), html: nasty(far.url) } });
    });
    await page.goto(`${server.url}/campaigns/${plain.id}/write`);
    let inner = await message();
    await soon('its pictures are asked for', () => far.asked.some((path) => path.includes('picture-plain')));
    await sound('as it is shown');
    for (const id of ['send', 'script', 'top', 'parent', 'blank', 'self', 'ping', 'download', 'pops']) {
      await inner.evaluate((name) => document.getElementById(name).click(), id);
      await sound(`after a click on ${id}`);
      // No link leads the innermost frame away: the message is still the same one.
      await page.waitForTimeout(150);
      assert.equal(await inner.locator('#marker').count(), 1, `after a click on ${id} the message is gone`);
    }
    await page.reload();
    await message();
    await calm(page);
    onlyPictures('the frame');
    assert.ok(inside > 0, 'the policy had work inside the frame');
    // Its style stays inside: the page around it can be used.
    await page.getByRole('button', { name: 'No pictures' }).click();
    await soon('the frame is drawn anew', async () => (await (await message()).evaluate(() => document.querySelector('meta')?.content ?? '')).includes("default-src 'none'"));
    far.asked.length = 0;
    await page.getByRole('button', { name: 'Phone' }).click();
    await soon('pictures again', () => far.asked.some((path) => path.includes('picture')));
    // Until the last of them was asked for: only what comes later counts.
    for (let before = -1; before !== far.asked.length; await page.waitForTimeout(800)) before = far.asked.length;
    far.asked.length = 0;
    await page.getByRole('button', { name: 'No pictures' }).click();
    await soon('the frame is drawn anew', async () => (await (await message()).evaluate(() => document.querySelector('meta')?.content ?? '')).includes("default-src 'none'"));
    await calm(page);
    assert.deepEqual(far.asked, [], 'without pictures nothing is loaded at all');
    await sound('without pictures');
    await page.unroute('**/api/v1/campaigns/*/preview*');

    // The same through the server, and hostile blocks in the editor and among the templates.
    far.asked.length = 0;
    const body = JSON.stringify(hostileBlocks(far.url));
    const blocks = await client.post('campaigns', { name: 'Blocks', draft: { ...envelope, body, format: 'blocks' } });
    await client.post('templates', { name: 'Nasty', language: '', draft: { ...envelope, body, format: 'blocks' } });
    await client.post('templates', { name: 'Nastier', language: '', draft: { ...envelope, body: nasty(far.url), format: 'html' } });
    for (const [name, path] of [
      ['through the server', `/campaigns/${through.id}/write`],
      ['blocks', `/campaigns/${blocks.id}/write`],
      ['templates', '/templates'],
    ]) {
      await page.goto(server.url + path);
      await calm(page);
      await sound(name);
      assert.equal(await page.evaluate(() => document.querySelectorAll('main base, main object, main embed, main script, main style, main link, main [onclick], main [onerror]').length), 0, `${name}: a planted element`);
      assert.equal(await page.evaluate(() => [...document.querySelectorAll('main [style]')].filter((one) => /url\(|fixed/.test(one.getAttribute('style'))).length), 0, `${name}: a planted style`);
      onlyPictures(name);
      if (name === 'blocks') {
        // Opened for writing, each block goes through the text editor or its settings.
        for (const id of ['b1', 'b11', 'b4', 'b8', 'when', 'cols']) {
          await page.locator(`[data-block="${id}"]`).first().focus();
          await page.keyboard.press('Enter');
          await page.locator(`[data-block="${id}"].open`).waitFor();
          await page.waitForTimeout(200);
          await sound(`block ${id} is open`);
          await page.keyboard.press('Escape');
        }
        onlyPictures('open blocks');
      }
    }
    t.diagnostic(`inside the frames the policy stopped ${inside} things; on our pages it had none to stop`);
    await context.close();
  } finally {
    await browser.close();
    await server.stop();
    far.stop();
  }
});
