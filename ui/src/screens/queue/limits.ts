// The limits of a site: which there are, where each comes from, and what may be set. Fetches nothing.

import type { Schemas } from '../../lib/api';
import { i18n, t } from '../../lib/i18n.svelte';
import { pace, type Source } from './words';

export type Profile = Schemas['ProfileView'];
export type Own = Schemas['LimitsInput'];
export type LimitName = 'connections' | 'per_connection' | 'per_second' | 'per_hour' | 'per_day' | 'tls' | 'back_off_seconds';

export const LIMITS: LimitName[] = ['connections', 'per_connection', 'per_second', 'per_hour', 'per_day', 'tls', 'back_off_seconds'];
/** Those that are numbers, with what they may be. */
export const RANGES = { connections: [1, 1_000], per_connection: [1, 10_000], per_second: [0.01, 10_000], per_hour: [1, 4_294_967_295], per_day: [1, 4_294_967_295], back_off_seconds: [1, 3_600] } as const;
export type NumberLimit = keyof typeof RANGES;

/** A value for people; a dash where there is no limit. */
export function value(name: LimitName, of: Own): string {
  const found = of[name];
  if (found === null || found === undefined) return t('queue.unlimited');
  if (name === 'tls') return i18n.has(`queue.tls.${found}`) ? i18n.text(`queue.tls.${found}`) : String(found);
  return pace(Number(found));
}

export interface Origin {
  text: string;
  /** The page of the provider that says so. */
  href?: string;
}

/** Where the value that counts comes from. */
export function originOf(name: LimitName, profile: Profile, own?: Own): Origin {
  if (own?.[name] !== null && own?.[name] !== undefined) return { text: t('queue.origin.own') };
  const source = profile.sources.find((one) => one.limit === name)?.source;
  if (source === undefined) {
    if (profile.counts[name] !== null && profile.counts[name] !== undefined) return { text: t('queue.origin.general') };
    return { text: name === 'connections' ? t('queue.origin.route') : name === 'per_second' || name === 'per_connection' ? t('queue.origin.learned') : t('queue.origin.nobody') };
  }
  if (source === 'our caution') return { text: t('queue.origin.caution') };
  return /^https:\/\//.test(source) ? { text: new URL(source).host, href: source } : { text: source };
}

/** What was found out about a limit while sending, where it is another value than the one that counts. */
export function foundOf(name: LimitName, profile: Profile, sources: Source[]): string {
  const seen = (of: (one: Source) => number | null | undefined) => {
    const values = sources.map(of).filter((n) => n !== null && n !== undefined);
    return values.length ? Math.min(...values) : undefined;
  };
  const found = name === 'connections' ? seen((one) => one.connections_allowed) : name === 'per_second' ? seen((one) => one.rate_allowed) : name === 'per_connection' ? seen((one) => one.per_connection) : undefined;
  return found === undefined || found === profile.counts[name] ? '' : pace(found);
}
