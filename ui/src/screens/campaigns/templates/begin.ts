// A campaign from a text.

import { api, ask, type Schemas } from '../../../lib/api';
import { router } from '../../../lib/router.svelte';

/** A text that is not there yet: the page to write begins one. */
export const nothing: Schemas['DraftView'] = { subject: '', preheader: '', from_name: '', from_mailbox: '', reply_to: '', format: null, body: '', text: '' };

/** Makes a draft with this text and opens it. Sender and replies that the template does not name come from the newest campaign. */
export async function beginWith(draft: Schemas['DraftView'], name: string): Promise<void> {
  const full = { ...nothing, ...draft };
  if (!full.from_mailbox) {
    const last = (await ask(api.GET('/api/v1/campaigns', { params: { query: { limit: 1 } } }))).items[0];
    if (last) {
      const before = (await ask(api.GET('/api/v1/campaigns/{campaign}', { params: { path: { campaign: last.id } } }))).draft;
      full.from_mailbox = before.from_mailbox ?? '';
      full.from_name ||= before.from_name ?? '';
      full.reply_to ||= before.reply_to ?? '';
    }
  }
  const made = await ask(api.POST('/api/v1/campaigns', { body: { name, draft: full } }));
  router.go(`/campaigns/${made.id}/write`);
}
