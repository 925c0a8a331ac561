// Every screen by name, with the ids that its address needs.

export const screens = ({ campaign, draft, contact, list, domain, route, imported }) => ({
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
  };
}
