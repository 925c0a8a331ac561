// What most stories begin with: a server that is set up, one person who is logged in, a list of people who agreed to get mail.

import { Client } from './client.mjs';

export const ANNA = { mailbox: 'anna@accept.test', name: 'Anna', password: 'correct horse battery' };

/** Sets `server` up for Anna; the API as she sees it. `more` are further fields of the workspace. */
export async function settled(server, more = {}) {
  const client = new Client(server.url);
  await client.setUp(server.code, ANNA, {
    name: 'Bakery', public_url: server.url, controller_name: 'Bakery Ltd', postal_address: '1 Road, 20100 Milano', privacy_url: 'https://example.org/privacy', ...more,
  });
  await client.post('domains', { name: 'accept.test' });
  await client.post('routes', { is_default: true, settings: { name: 'Direct', kind: 'mx', tls: 'opportunistic', connections: 10 } });
  return client;
}

/** A list of these mailboxes, all of whom agreed; what a campaign's audience wants. */
export async function people(client, mailboxes, name = 'Everybody') {
  const list = await client.post('lists', { name });
  const purpose = await client.post('purposes', { kind: 'newsletter', name: 'Monthly letter' });
  const wording = await client.post(`purposes/${purpose.id}/wordings`, { text: 'I want the monthly letter.', language: 'en' });
  const params = JSON.stringify({ lists: [list.id], consent: { source: 'a form', basis: 'consent', given_at: '2026-01-01T00:00:00Z', purpose: purpose.id, wording: wording.id } });
  const imported = await client.post(`imports?${new URLSearchParams({ file_name: 'people.csv', params })}`, `email\n${mailboxes.join('\n')}\n`, { 'content-type': 'text/csv' });
  await client.until('the import is done', async () => (await client.get(`imports/${imported.id}`)).state === 'done');
  return { include: [list.id], purpose: purpose.id };
}
