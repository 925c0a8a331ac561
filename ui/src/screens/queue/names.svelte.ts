// The names that people know providers and ways out by. Asked once for each, and kept while the page is open.

import { SvelteMap } from 'svelte/reactivity';
import { api, ask, type Schemas } from '../../lib/api';
import { session } from '../../lib/session.svelte';
import { t } from '../../lib/i18n.svelte';

const titles = new SvelteMap<string, { title: string; suffixes: string[] }>();
const asked = new Set<string>();

/** Sites that a profile knows have short names; others are named as their hosts are registered, which says it all. */
async function learn(site: string) {
  if (asked.has(site) || site.includes('.')) return;
  asked.add(site);
  try {
    const profile = await ask(api.GET('/api/v1/queue/limits/site', { params: { query: { site } } }));
    if (profile.profile === site) titles.set(site, { title: profile.title, suffixes: profile.suffixes });
  } catch {
    // The short name stands.
    asked.delete(site);
  }
}

/** Asks for the names of these sites, each once. */
export const learnSites = (sites: string[]) => void Promise.all(sites.map(learn));

/** `Gmail and Google Workspace` for `google`. */
export const titleOf = (site: string) => titles.get(site)?.title ?? site;

/** Whether what somebody typed means this site. */
export function fits(site: string, text: string): boolean {
  const wanted = text.trim().toLowerCase();
  const known = titles.get(site);
  return [site, known?.title ?? '', ...(known?.suffixes ?? [])].some((name) => name.toLowerCase().includes(wanted));
}

const routes = new SvelteMap<string, string>();
const addresses = new SvelteMap<string, string>();

/** The names of the routes and of the addresses to send from, for those who may see them. */
export async function learnRoutes() {
  if (!session.may('admin')) return;
  const { items } = await ask(api.GET('/api/v1/routes')).catch(() => ({ items: [] as Schemas['RouteView'][] }));
  for (const route of items) routes.set(route.id, route.settings.name);
  // Addresses belong to the installation: who does not run it is told their ids.
  const { items: sources } = await ask(api.GET('/api/v1/egress/sources')).catch(() => ({ items: [] as Schemas['SourceView'][] }));
  for (const source of sources) addresses.set(source.id, source.name);
}

/** By which way mail leaves, in words. */
export function sourceOf(source: string): string {
  if (source === 'direct') return t('queue.from.direct');
  // A relay of several hosts is told host by host: `rte_…/smtp1.example.org`.
  const [route = '', host] = source.split('/');
  const name = routes.get(route);
  const relay = name ? t('queue.from.routed', { name }) : t('queue.from.relay');
  if (source.startsWith('rte_')) return host ? `${relay} (${host})` : relay;
  return addresses.get(source) ?? source;
}
