// Every screen by name, with the ids that its address needs; and which of those that are registered is missing here.

import { readFileSync } from 'node:fs';

export const screens = ({ campaign, draft, contact, list, domain, route, imported, application }) => ({
  home: '/',
  campaigns: '/campaigns',
  report: `/campaigns/${campaign}`,
  people: `/campaigns/${campaign}/people`,
  write: `/campaigns/${draft}/write`,
  review: `/campaigns/${draft}/review`,
  templates: '/templates',
  contacts: '/contacts',
  person: `/contacts/${contact}`,
  lists: '/lists',
  list: `/lists/${list}`,
  imports: '/imports',
  'import-new': '/imports/new',
  import: `/imports/${imported}`,
  purposes: '/purposes',
  suppressions: '/suppressions',
  queue: '/queue',
  tls: '/tls',
  'tls-rules': '/tls?show=rules',
  certificates: '/tls?show=certificates',
  sources: '/sources',
  applications: '/applications',
  'applications-refused': '/applications?show=refused&strangers=yes',
  'applications-message': '/applications?show=message',
  'application-new': '/applications/new',
  application: `/applications/${application}`,
  alarms: '/alarms',
  'alarm-settings': '/alarms/settings',
  domains: '/domains',
  domain: `/domains/${domain}`,
  routes: '/routes',
  'route-new': '/routes/new',
  route: `/routes/${route}`,
  settings: '/settings',
  me: '/me',
  accounts: '/accounts',
  keys: '/keys',
  audit: '/audit',
  status: '/status',
  welcome: '/welcome',
  lost: '/there/is/no/such/page',
});

/** The first of everything that the server has, and a draft that is a copy of the first campaign. */
export async function ids(client) {
  const first = async (path) => (await client.get(`${path}?limit=1`)).items[0]?.id;
  const campaign = await first('campaigns');
  return {
    campaign,
    draft: (await client.post(`campaigns/${campaign}/copy`, { name: 'Autumn news' })).id,
    contact: await first('contacts'),
    list: await first('lists'),
    domain: await first('domains'),
    route: await first('routes'),
    imported: await first('imports'),
    application: (await client.post('relay/credentials', { name: 'shop' })).id,
  };
}

/** Patterns of src/screens/table.ts that no screen above has: pictures and axe would never see them. */
export function unseen() {
  const source = process.env.POSTRIDER_UI_SRC ?? new URL('../src/', import.meta.url).pathname;
  const table = readFileSync(`${source}/screens/table.ts`, 'utf8');
  const patterns = [...table.matchAll(/^\s*screen\(\s*'([^']+)'/gm)].map((found) => found[1]);
  if (!patterns.length) throw new Error('no screens were found in table.ts: does it look different now?');
  const named = { campaign: 'c', draft: 'd', contact: 'p', list: 'l', domain: 'o', route: 'r', imported: 'i', application: 'a' };
  const paths = Object.values(screens(named)).map((path) => path.split('?')[0].split('/'));
  const shows = (pattern, path) => pattern.length === path.length && pattern.every((part, n) => (part.startsWith(':') ? Object.values(named).includes(path[n]) : part === path[n]));
  return patterns.filter((pattern) => !paths.some((path) => shows(pattern.split('/'), path)));
}
