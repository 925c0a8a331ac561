// The pages that recipients see, opened from a message that really left: readable for everybody, without JavaScript, and reading
// them changes nothing.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Client } from './client.mjs';
import { axe, launch, open } from './look.mjs';
import { fresh, world } from './program.mjs';
import { header, readable, sink } from './sink.mjs';

test('recipients can read, prefer and leave', async () => {
  const [host, sim, browser] = [await sink(), await world(), await launch()];
  const server = await fresh(sim.env);
  try {
    const client = new Client(server.url);
    await client.setUp(
      server.code,
      { mailbox: 'anna@example.org', name: 'Anna', password: 'correct horse battery' },
      { name: 'Bakery', public_url: server.url, controller_name: 'Bakery Ltd', postal_address: '1 Road, 20100 Milano', privacy_url: 'https://example.org/privacy' },
    );
    const workspace = (await client.get('workspaces')).items[0].id;
    await client.call('PATCH', `workspaces/${workspace}`, { hosted_copies: true });
    await client.post('domains', { name: 'accept.test' });
    await client.post('routes', { is_default: true, settings: { name: 'sink', kind: 'smarthost', host: '127.0.0.1', port: host.port, tls: 'none' } });
    const list = await client.post('lists', { name: 'Everybody' });
    const purpose = await client.post('purposes', { kind: 'newsletter', name: 'Monthly letter' });
    const wording = await client.post(`purposes/${purpose.id}/wordings`, { text: 'I want the monthly letter.', language: 'en' });
    const params = JSON.stringify({ lists: [list.id], consent: { source: 'a form', basis: 'consent', given_at: '2026-01-01T00:00:00Z', purpose: purpose.id, wording: wording.id } });
    const rows = ['en', 'it', 'pl'].map((language) => `${language}@mail1.accept.test,${language}`);
    const imported = await client.post(`imports?${new URLSearchParams({ file_name: 'people.csv', params })}`, `email,language\n${rows.join('\n')}\n`, { 'content-type': 'text/csv' });
    await client.until('the import is done', async () => (await client.get(`imports/${imported.id}`)).state === 'done');
    const campaign = await client.post('campaigns', {
      name: 'Spring',
      policy: 'rehearsal',
      audience: { include: [list.id], purpose: purpose.id },
      draft: { body: '<h1>Hello</h1><p>Spring is here.</p>', format: 'html', from_mailbox: 'news@accept.test', from_name: 'Bakery', subject: 'Spring' },
    });
    await client.post(`campaigns/${campaign.id}/start`, { undo_seconds: 0 });
    await client.until('three messages', async () => host.messages.length === 3);

    for (const language of ['en', 'it', 'pl']) {
      const message = host.messages.find((text) => header(text, 'To').includes(`${language}@`));
      assert.ok(message, `nothing came for ${language}`);
      const oneClick = header(message, 'List-Unsubscribe').match(/<(http[^>]+)>/)?.[1];
      const links = readable(message).match(/https?:\/\/[^\s"'<>)]+\/[uph]\/[\w.~-]+/g) ?? [];
      const page = (kind) => [oneClick, ...links].find((link) => link?.includes(`/${kind}/`));
      assert.ok(oneClick && page('p'), `links: ${links}`);
      for (const colorScheme of ['light', 'dark']) {
        const { context, page: tab, faults } = await open(browser, { language, colorScheme, viewport: { width: 390, height: 844 }, javaScriptEnabled: true });
        for (const kind of ['u', 'p', 'h']) {
          const link = page(kind);
          if (!link) continue;
          const answer = await tab.goto(link);
          assert.equal(answer.status(), 200, link);
          assert.equal(await tab.locator('script').count(), 0, 'no JavaScript');
          if (kind !== 'h') assert.equal(await tab.locator('html').getAttribute('lang'), language);
          assert.deepEqual(await axe(tab), [], `${kind} ${language} ${colorScheme}`);
          if (process.env.SHOTS) await tab.screenshot({ path: `${process.env.SHOTS}/public-${kind}-${language}-${colorScheme}.png`, fullPage: true });
        }
        assert.deepEqual(faults, []);
        await context.close();
      }
      // Reading changed nothing; the button does.
      const contact = (await client.get(`contacts?search=${language}%40mail1`)).items[0].id;
      const state = async () => (await client.get(`contacts/${contact}/consents`)).items.map((c) => c.state);
      assert.ok((await state()).includes('granted'), 'reading took nothing back');
      const { context, page: tab } = await open(browser, { language, javaScriptEnabled: false });
      await tab.goto(page('u'));
      await tab.locator('button').first().click();
      await tab.locator('h1').waitFor();
      assert.ok(!(await state()).includes('granted'), `${language}: the button takes consent back`);
      await context.close();
    }
  } finally {
    await browser.close();
    await server.stop();
    sim.stop();
    host.stop();
  }
});
