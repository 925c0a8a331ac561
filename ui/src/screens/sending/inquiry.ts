// Questions that only the engine can answer: DNS of a domain, a dialogue with a route's host. Waits for the answer; shows nothing.

import { api, ask, type Schemas } from '../../lib/api';
import { t } from '../../lib/i18n.svelte';

/** What DNS has for a record that a domain should have. */
export interface RecordFound {
  type: string;
  name: string;
  value: string;
  required: boolean;
  ok: boolean;
  found: string[];
  problem: string | null;
}

/** Something that was found out about a domain or this host (docs/domains.md). */
export interface DomainFinding {
  code: string;
  state: 'red' | 'amber' | 'note';
  about: string;
  found: string;
  want: string;
  remedy: string;
}

/** The answer to a look at a domain's DNS; also kept with the domain as `checked`. */
export interface DomainCheck {
  ok: boolean;
  at?: string;
  /** The worst of the findings; notes do not count. */
  state?: 'red' | 'amber' | 'green';
  records?: RecordFound[];
  findings?: DomainFinding[];
  text?: string;
}

/** The answer to a dialogue with a route's host: its own words. */
export interface RouteTest {
  ok: boolean;
  text: string;
  host?: string | null;
  ip?: string | null;
  port?: number;
  ms?: number;
  greeting?: string;
  tls?: string;
  logged_in?: boolean;
  capabilities?: string[];
  stage?: string;
  code?: number | null;
  enhanced?: string | null;
}

/** The engine answers within 13 s or never; asked again once a second. */
const TRIES = 15;

/** The answer of the engine, also when it takes longer than the first request waits. */
export async function answered<T>(first: Promise<Schemas['Answer']>): Promise<T> {
  let { inquiry, answer } = await first;
  for (let i = 0; !answer && i < TRIES; i += 1) {
    await new Promise((done) => setTimeout(done, 1_000));
    ({ answer } = await ask(api.GET('/api/v1/probes/{inquiry}', { params: { path: { inquiry } } })));
  }
  if (!answer) throw new Error(t('noAnswer'));
  return answer as unknown as T;
}

/** Looks at a domain's records now. */
export const checkDomain = (domain: string) =>
  answered<DomainCheck>(ask(api.POST('/api/v1/domains/{domain}/check', { params: { path: { domain } } })));

/** Connects to a route's host, greets, logs in and leaves. */
export const testRoute = (route: string) =>
  answered<RouteTest>(ask(api.POST('/api/v1/routes/{route}/test', { params: { path: { route } } })));

/** Where mail for a domain would go from this server. */
export const whereMailGoes = (domain: string) =>
  answered<{ ok: boolean; site?: string; hosts?: { addresses: string[] }[] }>(ask(api.POST('/api/v1/probes/dns', { body: { domain } })));
