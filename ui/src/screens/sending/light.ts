// The traffic lights of a sending domain: what was found in DNS against what should be there.

import type { Schemas } from '../../lib/api';
import { t } from '../../lib/i18n.svelte';
import type { Kind } from '../../parts/Status.svelte';
import type { DomainCheck, RecordFound } from './inquiry';

export type Domain = Schemas['DomainView'];
export type DnsRecord = Schemas['RecordView'];

export interface Light {
  kind: Kind;
  text: string;
}

/** What the last look found; null before the first. */
export const checkOf = (domain: Domain) => (domain.checked ?? null) as DomainCheck | null;

/** What a record is for, by its name and value: the words for it are ours, in the reader's language. */
export function purpose(record: DnsRecord): 'dkim' | 'dmarc' | 'spf' | 'mx' | 'other' {
  if (record.type === 'MX') return 'mx';
  if (record.name.includes('._domainkey.')) return 'dkim';
  if (record.name.startsWith('_dmarc.')) return 'dmarc';
  return /^v=spf1/i.test(record.value) ? 'spf' : 'other';
}

/** What was found for a record that is wished now; nothing when it was not looked for yet. */
export const found = (record: DnsRecord, check: DomainCheck | null): RecordFound | undefined =>
  check?.records?.find((r) => r.type === record.type && r.name === record.name && r.value === record.value);

export function recordLight(record: DnsRecord, check: DomainCheck | null): Light {
  const seen = found(record, check);
  if (!seen) return { kind: 'idle', text: t('sending.light.unknown') };
  if (seen.ok) return { kind: 'ok', text: t('sending.light.found') };
  if (seen.problem?.startsWith('DNS gave no answer')) return { kind: 'warn', text: t('sending.light.silent') };
  const kind = record.required ? 'bad' : 'warn';
  if (seen.found.length) return { kind, text: t('sending.light.other') };
  return { kind, text: record.required ? t('sending.light.missing') : t('sending.light.advised') };
}

/** The worst of the records' lights, and how many are there. */
export function recordsLight(domain: Domain): Light {
  const check = checkOf(domain);
  const lights = domain.records.map((record) => recordLight(record, check).kind);
  const n = lights.filter((kind) => kind === 'ok').length;
  const text = t('sending.light.count', { n, all: lights.length });
  if (lights.includes('bad')) return { kind: 'bad', text };
  if (lights.every((kind) => kind === 'idle')) return { kind: 'idle', text: t('sending.light.unknown') };
  if (n < lights.length) return { kind: 'warn', text };
  return { kind: 'ok', text: t('sending.light.all') };
}

/** All that the last look found, in one light: the findings where there are any, the records before. */
export function domainLight(domain: Domain): Light {
  const check = checkOf(domain);
  if (!check?.findings) return recordsLight(domain);
  const n = (state: string) => check.findings?.filter((f) => f.state === state).length ?? 0;
  if (n('red')) return { kind: 'bad', text: t('sending.findings.red', { n: n('red') }) };
  if (n('amber')) return { kind: 'warn', text: t('sending.findings.amber', { n: n('amber') }) };
  return { kind: 'ok', text: t('sending.state.green') };
}
