// Looks for people of a campaign by the beginning of their mailbox: in the contact book first, then their deliveries.

import { api, ask, type Schemas } from '../../lib/api';
import type { Listing } from '../../lib/pages.svelte';

/** Contacts looked at once; "more" looks at the next ones. */
const MOST = 10;

export async function findRows(campaign: string, search: string, status?: string, cursor?: string): Promise<Listing<Schemas['DeliveryView']>> {
  const contacts = await ask(api.GET('/api/v1/contacts', { params: { query: { search, cursor, limit: MOST } } }));
  const found = await Promise.all(
    contacts.items.map(({ id }) => ask(api.GET('/api/v1/deliveries', { params: { query: { contact: id, limit: 100 } } }))),
  );
  const items = found.flatMap((page) => page.items).filter((row) => row.campaign === campaign && (!status || row.status === status));
  return { items, next_cursor: contacts.next_cursor };
}

/** People who were left out for a reason; the server lists all of them, in order of their contacts. */
export async function findExclusions(campaign: string, reason: string, cursor?: string): Promise<Listing<Schemas['ExclusionView']>> {
  const items: Schemas['ExclusionView'][] = [];
  let next: string | null | undefined = cursor;
  // A page is looked at as a whole, so the cursor stays exact; rare reasons may need several.
  for (let n = 0; n < 20; n += 1) {
    const page: Listing<Schemas['ExclusionView']> = await ask(
      api.GET('/api/v1/campaigns/{campaign}/exclusions', { params: { path: { campaign }, query: { cursor: next ?? undefined, limit: reason ? 500 : 50 } } }),
    );
    items.push(...page.items.filter((row) => !reason || row.reason === reason));
    next = page.next_cursor;
    if (!next || !reason || items.length >= 50) break;
  }
  return { items, next_cursor: next };
}
