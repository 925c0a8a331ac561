// Which screen an address shows, and which words it needs. A screen gets the `:names` of its pattern as properties.

import type { Component } from 'svelte';
import type { Area } from '../lib/i18n.svelte';

export interface Screen {
  pattern: string;
  area: Area;
  load: () => Promise<{ default: Component<Record<string, string>> }>;
}

const screen = (pattern: string, area: Area, load: () => Promise<{ default: unknown }>): Screen => ({
  pattern,
  area,
  load: load as Screen['load'],
});

export const screens: Screen[] = [
  screen('/', 'home', () => import('./home/Home.svelte')),
  screen('/domains', 'sending', () => import('./sending/Domains.svelte')),
  screen('/domains/:domain', 'sending', () => import('./sending/Domain.svelte')),
  screen('/queue', 'queue', () => import('./queue/Queue.svelte')),
  screen('/tls', 'queue', () => import('./tls/Tls.svelte')),
  screen('/sources', 'egress', () => import('./egress/Sources.svelte')),
  screen('/applications', 'relay', () => import('./relay/Applications.svelte')),
  screen('/applications/new', 'relay', () => import('./relay/Connect.svelte')),
  screen('/applications/:application', 'relay', () => import('./relay/Application.svelte')),
  screen('/alarms', 'alarms', () => import('./alarms/Alarms.svelte')),
  screen('/alarms/settings', 'alarms', () => import('./alarms/Settings.svelte')),
  screen('/routes', 'sending', () => import('./sending/Routes.svelte')),
  screen('/routes/new', 'sending', () => import('./sending/Route.svelte')),
  screen('/routes/:route', 'sending', () => import('./sending/Route.svelte')),
  screen('/campaigns', 'campaigns', () => import('./campaigns/Campaigns.svelte')),
  screen('/campaigns/:campaign', 'campaigns', () => import('./campaigns/Campaign.svelte')),
  screen('/campaigns/:campaign/write', 'campaigns', () => import('./campaigns/write/Write.svelte')),
  screen('/templates', 'campaigns', () => import('./campaigns/templates/Templates.svelte')),
  screen('/campaigns/:campaign/review', 'campaigns', () => import('./campaigns/Review.svelte')),
  screen('/campaigns/:campaign/people', 'campaigns', () => import('./campaigns/People.svelte')),
  screen('/settings', 'settings', () => import('./settings/Workspace.svelte')),
  screen('/me', 'settings', () => import('./settings/Me.svelte')),
  screen('/accounts', 'settings', () => import('./settings/Accounts.svelte')),
  screen('/keys', 'settings', () => import('./settings/Keys.svelte')),
  screen('/audit', 'settings', () => import('./settings/Audit.svelte')),
  screen('/status', 'settings', () => import('./settings/Status.svelte')),
  screen('/contacts', 'contacts', () => import('./contacts/Contacts.svelte')),
  screen('/contacts/:contact', 'contacts', () => import('./contacts/Contact.svelte')),
  screen('/lists', 'contacts', () => import('./contacts/Lists.svelte')),
  screen('/lists/:list', 'contacts', () => import('./contacts/List.svelte')),
  screen('/suppressions', 'contacts', () => import('./contacts/Suppressions.svelte')),
  screen('/purposes', 'contacts', () => import('./contacts/Purposes.svelte')),
  screen('/imports', 'contacts', () => import('./contacts/Imports.svelte')),
  screen('/imports/new', 'contacts', () => import('./contacts/NewImport.svelte')),
  screen('/imports/:import', 'contacts', () => import('./contacts/Import.svelte')),
  screen('/welcome', 'setup', () => import('./setup/Welcome.svelte')),
];
