// An alarm in the reader's language: what is wrong, made of its facts, and where one mends it. Fetches nothing.

import type { Schemas } from '../../lib/api';
import { i18n, t, type Key } from '../../lib/i18n.svelte';
import { bytes, percent } from '../../lib/format';
import type { Kind } from '../../parts/Status.svelte';

export type Alarm = Schemas['AlarmView'];

export const kindOf = (alarm: Alarm): Kind => (alarm.state === 'resolved' ? 'idle' : alarm.severity === 'critical' ? 'bad' : 'warn');

type Facts = Record<string, unknown>;
const text = (facts: Facts, name: string) => (typeof facts[name] === 'string' ? (facts[name] as string) : '');
const count = (facts: Facts, name: string) => (typeof facts[name] === 'number' ? (facts[name] as number) : undefined);

/** What is wrong, in one sentence; the server's own where its facts are not as this page knows them. */
export function sentence(alarm: Alarm): string {
  const key = `alarm.say.${alarm.kind}`;
  if (!i18n.has(key)) return alarm.sentence;
  const facts = alarm.facts as Facts;
  const params: Record<string, string | number> = { subject: alarm.subject, name: text(facts, 'name') || alarm.subject };
  for (const name of ['questions', 'bad', 'of', 'unknown', 'answers', 'seconds']) {
    const n = count(facts, name);
    if (n !== undefined) params[name] = n;
  }
  const [bad, of, free] = [count(facts, 'bad'), count(facts, 'of'), count(facts, 'free_mib')];
  if (bad !== undefined && of) params.rate = percent(bad, of);
  if (free !== undefined) params.free = bytes(free * 1_048_576);
  const said = i18n.text(key, params);
  return /\{\w+\}/.test(said) ? alarm.sentence : said;
}

export const title = (alarm: Alarm) => (i18n.has(`alarm.kind.${alarm.kind}`) ? i18n.text(`alarm.kind.${alarm.kind}`) : alarm.kind.replaceAll('_', ' '));
export const remedy = (alarm: Alarm) => (i18n.has(`alarm.remedy.${alarm.kind}`) ? i18n.text(`alarm.remedy.${alarm.kind}`) : alarm.remedy);

/** Words of others that belong to it: a reply, a reason. */
export function details(alarm: Alarm): { key: Key; text: string }[] {
  const facts = alarm.facts as Facts;
  const found: { key: Key; text: string }[] = [
    { key: 'alarm.reply', text: text(facts, 'reply') },
    { key: 'alarm.why', text: text(facts, 'why') || text(facts, 'finding') },
  ];
  return found.filter((one) => one.text);
}

/** Where one mends it. */
export function place(alarm: Alarm): { href: string; key: Key } | undefined {
  switch (alarm.kind) {
    case 'bounces':
    case 'complaints':
    case 'campaign_paused':
    case 'campaign_missed':
      return { href: `/campaigns/${alarm.subject}`, key: 'alarm.where.campaign' };
    case 'domain_red':
      return { href: '/domains', key: 'alarm.where.domain' };
    case 'block':
    case 'mass_unknown':
      return { href: `/queue?site=${encodeURIComponent(alarm.subject)}`, key: 'alarm.where.queue' };
    case 'tls_lost':
      return { href: '/tls', key: 'alarm.where.tls' };
    case 'certificate':
      return { href: '/tls?show=certificates', key: 'alarm.where.certificates' };
    case 'source_missing':
    case 'warmup_paused':
      return { href: '/sources', key: 'alarm.where.sources' };
    default:
      return undefined;
  }
}

/** Whether it is told on the first page already, in its own words. */
export const isOpen = (alarm: Alarm) => alarm.state === 'open';
/** When somebody took note, or it was over. */
export const seenBy = (alarm: Alarm) => (alarm.acknowledged_at ? t('alarm.ackedBy', { who: alarm.acknowledged_by ?? '' }) : '');
