// Names for the ids that the audit writes: who acted, and where the object can be seen.

import { api, ask } from '../../lib/api';

export interface Names {
  accounts: Map<string, string>;
  keys: Map<string, string>;
}

export async function loadNames(): Promise<Names> {
  const [accounts, keys] = await Promise.all([ask(api.GET('/api/v1/accounts')), ask(api.GET('/api/v1/keys'))]);
  return {
    accounts: new Map(accounts.items.map((a) => [a.id as string, a.name || a.mailbox])),
    keys: new Map(keys.items.map((k) => [k.id as string, k.name])),
  };
}

const PAGES: Record<string, string> = {
  cmp: '/campaigns/',
  con: '/contacts/',
  lst: '/lists/',
  imp: '/imports/',
  crd: '/applications/',
  dom: '/domains/',
  rte: '/routes/',
};

/** The page of an object, where there is one. */
export function pageOf(object: string): string | undefined {
  const base = PAGES[object.slice(0, 3)];
  return base && object[3] === '_' ? base + object : undefined;
}
