// A new draft for those whom a campaign did not reach, on a list of their own.

import { api, ask, type Schemas } from '../../lib/api';
import { t } from '../../lib/i18n.svelte';
import { copy } from './actions';
import type { RowStatus } from './kinds';

/** Not those who were refused for good: writing to them again only harms the sender. */
export const NOT_REACHED: RowStatus[] = ['TIMEOUT', 'EXPIRED', 'CANCELLED'];
/** Rows of a page, and members added at once. */
const PAGE = 500;

/** How many that are. */
export const notReached = (ledger: Schemas['LedgerView']) => ledger.expired + ledger.cancelled;

/** Makes list and draft; `told` hears how many are on the list so far. Nothing is sent. */
export async function writeAgain(campaign: Schemas['CampaignView'], told: (n: number) => void): Promise<Schemas['CampaignView']> {
  const list = await ask(
    api.POST('/api/v1/lists', { body: { name: t('campaigns.again.list', { name: campaign.name }).slice(0, 190), description: t('campaigns.again.listAbout') } }),
  );
  let n = 0;
  for (const status of NOT_REACHED) {
    let cursor: string | undefined;
    do {
      const page: { items: Schemas['DeliveryView'][]; next_cursor?: string | null } = await ask(
        api.GET('/api/v1/campaigns/{campaign}/rows', { params: { path: { campaign: campaign.id }, query: { status, cursor, limit: PAGE } } }),
      );
      const contacts = page.items.flatMap((row) => (row.contact ? [row.contact] : []));
      if (contacts.length) await ask(api.POST('/api/v1/lists/{list}/members', { params: { path: { list: list.id } }, body: { contacts } }));
      n += contacts.length;
      told(n);
      cursor = page.next_cursor ?? undefined;
    } while (cursor);
  }
  const made = await copy(campaign.id, t('campaigns.copyName', { name: campaign.name }));
  const audience: Schemas['AudienceView'] = { include: [list.id], exclude: [], purpose: campaign.audience.purpose ?? null };
  return ask(api.PATCH('/api/v1/campaigns/{campaign}', { params: { path: { campaign: made.id } }, body: { rev: made.rev, audience } }));
}
