// What a person does to a campaign, each as one call. Says nothing; the callers do.

import { api, ask, type Schemas } from '../../lib/api';
import { session } from '../../lib/session.svelte';
import { day } from '../../lib/format';
import { t } from '../../lib/i18n.svelte';

type Id = { params: { path: { campaign: string } } };
const of = (campaign: string): Id => ({ params: { path: { campaign } } });

export const pause = (id: string) => ask(api.POST('/api/v1/campaigns/{campaign}/pause', of(id)));
export const resume = (id: string) => ask(api.POST('/api/v1/campaigns/{campaign}/resume', of(id)));
export const stop = (id: string) => ask(api.POST('/api/v1/campaigns/{campaign}/stop', of(id)));
export const takeBack = (id: string) => ask(api.POST('/api/v1/campaigns/{campaign}/unschedule', of(id)));
export const remove = (id: string) => ask(api.DELETE('/api/v1/campaigns/{campaign}', of(id)));
export const copy = (id: string, name: string) => ask(api.POST('/api/v1/campaigns/{campaign}/copy', { ...of(id), body: { name } }));

/** The sender of the newest campaign, or a first guess from the first sending domain. */
async function usualSender(): Promise<Partial<Schemas['DraftView']>> {
  const { items } = await ask(api.GET('/api/v1/campaigns', { params: { query: { limit: 1 } } }));
  const last = items[0] && (await ask(api.GET('/api/v1/campaigns/{campaign}', of(items[0].id))));
  if (last?.draft.from_mailbox) {
    const { from_mailbox, from_name, reply_to } = last.draft;
    return { from_mailbox, from_name, reply_to };
  }
  const domains = await ask(api.GET('/api/v1/domains'));
  const domain = domains.items[0]?.name;
  return domain ? { from_mailbox: `news@${domain}`, from_name: session.current?.name ?? '' } : {};
}

/** What is certain without asking: the only list and the only purpose that mail is sent for. */
async function certainAudience(): Promise<Schemas['AudienceView']> {
  const lists = session.may('contacts:read') ? (await ask(api.GET('/api/v1/lists'))).items : [];
  const purposes = session.may('contacts:read') ? (await ask(api.GET('/api/v1/purposes'))).items.filter((p) => p.kind !== 'tracking') : [];
  return {
    include: lists.length === 1 && lists[0] ? [lists[0].id] : [],
    exclude: [],
    purpose: purposes.length === 1 && purposes[0] ? purposes[0].id : null,
  };
}

/** Makes a draft at once; a name, a list and a text come later. */
export async function begin(): Promise<Schemas['CampaignView']> {
  // Guesses help, and never stand in the way of writing.
  const [sender, audience] = await Promise.all([usualSender().catch(() => ({})), certainAudience().catch(() => ({ include: [], exclude: [], purpose: null }))]);
  return ask(
    api.POST('/api/v1/campaigns', {
      body: { name: t('campaigns.untitled', { day: day(Date.now()) }), audience, draft: { ...EMPTY, ...sender } },
    }),
  );
}

const EMPTY: Schemas['DraftView'] = { from_mailbox: '', from_name: '', reply_to: '', subject: '', preheader: '', format: null, body: '', text: '' };
