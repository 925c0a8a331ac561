// What the states of a queue look like, and numbers of a queue as people read them. Fetches nothing.

import type { Schemas } from '../../lib/api';
import { i18n, t, type Key } from '../../lib/i18n.svelte';
import type { Kind } from '../../parts/Status.svelte';

export type Site = Schemas['SiteRow'];
/** A source at a site, on one node. */
export type Source = Schemas['SiteSource'];
export type Hold = Schemas['HoldView'];

/** What is usual, what slows down, what stands still, and what stands until somebody does something. */
const OF_REASON: Record<string, { kind: Kind; word: Key }> = {
  connection: { kind: 'info', word: 'queue.waits' },
  rate: { kind: 'info', word: 'queue.waits' },
  hourly_limit: { kind: 'info', word: 'queue.waits' },
  daily_limit: { kind: 'info', word: 'queue.waits' },
  retry: { kind: 'info', word: 'queue.waits' },
  dns: { kind: 'info', word: 'queue.waits' },
  warm_up: { kind: 'info', word: 'queue.waits' },
  learned_rate: { kind: 'warn', word: 'queue.slows' },
  recovery: { kind: 'warn', word: 'queue.slows' },
  queue_speed: { kind: 'warn', word: 'queue.slows' },
  back_off: { kind: 'warn', word: 'queue.stands' },
  paused: { kind: 'warn', word: 'queue.stands' },
  held: { kind: 'warn', word: 'queue.stands' },
  queue_rule: { kind: 'warn', word: 'queue.stands' },
  stop: { kind: 'bad', word: 'queue.stands' },
  suspended: { kind: 'bad', word: 'queue.stands' },
  in_doubt: { kind: 'bad', word: 'queue.needs' },
  egress: { kind: 'bad', word: 'queue.needs' },
  disk_space: { kind: 'bad', word: 'queue.needs' },
  setup: { kind: 'bad', word: 'queue.needs' },
};
export const lookOf = (reason: string) => OF_REASON[reason] ?? ({ kind: 'warn', word: 'queue.waits' } as const);

/** What holds a row back: the site's own reason, else those of what waits there and of single sources, each once, the worst first. */
export function holdsOf(row: Site): Hold[] {
  if (row.hold) return [row.hold];
  const rank: Kind[] = ['bad', 'warn', 'info'];
  const found = new Map<string, Hold>();
  for (const part of [...row.flows, ...row.sources]) if (part.hold && !found.has(part.hold.reason)) found.set(part.hold.reason, part.hold);
  return [...found.values()].sort((a, b) => rank.indexOf(lookOf(a.reason).kind) - rank.indexOf(lookOf(b.reason).kind));
}

/** Whether anything waits there or is on its way; of others only the last replies are of interest. */
export const moves = (row: Site) => row.ready > 0 || row.held > 0 || row.claimed > 0 || row.rate > 0 || holdsOf(row).length > 0;

/** The names of the sources of a row, each once: several nodes may have the same. */
export const sourcesOf = (row: Site) => [...new Set(row.sources.map((one) => one.source))].sort();

/** What a site refused last, from whatever source, the newest first. */
export const repliesOf = (row: Site) => row.sources.flatMap((one) => one.replies).sort((a, b) => b.at.localeCompare(a.at));

/** Messages per second, fine enough for slow ones. */
export const pace = (n: number) => n.toLocaleString(i18n.locale, { maximumFractionDigits: n < 1 ? 3 : n < 10 ? 2 : n < 100 ? 1 : 0 });

/** `12 of 20 connections`, or without the limit. */
export function connections(row: Site | Source): string {
  const allowed = row.connections_allowed;
  return allowed === null || allowed === undefined ? t('queue.connectionsAre', { n: row.connections }) : t('queue.connectionsOf', { n: row.connections, of: allowed });
}
