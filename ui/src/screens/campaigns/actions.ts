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

/** What the newest campaign had: people who write again mostly write as before. */
async function newest(): Promise<Schemas['CampaignView'] | undefined> {
  const { items } = await ask(api.GET('/api/v1/campaigns', { params: { query: { limit: 1 } } }));
  return items[0] && (await ask(api.GET('/api/v1/campaigns/{campaign}', of(items[0].id))));
}

/** The sender as before, or a first guess from the first sending domain. */
async function sender(before?: Schemas['CampaignView']): Promise<Partial<Schemas['DraftView']>> {
  if (before?.draft.from_mailbox) {
    const { from_mailbox, from_name, reply_to } = before.draft;
    return { from_mailbox, from_name, reply_to };
  }
  const domain = (await ask(api.GET('/api/v1/domains'))).items[0]?.name;
  return domain ? { from_mailbox: `news@${domain}`, from_name: session.current?.name ?? '' } : {};
}

/** The purpose as before, or the only newsletter; the list only when there is no other. */
async function audience(before?: Schemas['CampaignView']): Promise<Schemas['AudienceView']> {
  const lists = (await ask(api.GET('/api/v1/lists'))).items;
  const newsletters = (await ask(api.GET('/api/v1/purposes'))).items.filter((p) => p.kind === 'newsletter');
  return {
    include: lists.length === 1 && lists[0] ? [lists[0].id] : [],
    exclude: [],
    purpose: before?.audience.purpose ?? (newsletters.length === 1 ? (newsletters[0]?.id ?? null) : null),
  };
}

/** Makes a draft at once; a name, a list and a text come later. */
export async function begin(): Promise<Schemas['CampaignView']> {
  // Guesses help, and never stand in the way of writing.
  const before = await newest().catch(() => undefined);
  const [from, who] = await Promise.all([sender(before).catch(() => ({})), audience(before).catch(() => undefined)]);
  return ask(
    api.POST('/api/v1/campaigns', {
      body: { name: t('campaigns.untitled', { day: day(Date.now()) }), audience: who ?? { include: [], exclude: [], purpose: null }, draft: { ...EMPTY, ...from } },
    }),
  );
}

const EMPTY: Schemas['DraftView'] = { from_mailbox: '', from_name: '', reply_to: '', subject: '', preheader: '', format: null, body: '', text: '' };
