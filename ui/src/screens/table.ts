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
  screen('/routes', 'sending', () => import('./sending/Routes.svelte')),
  screen('/routes/new', 'sending', () => import('./sending/Route.svelte')),
  screen('/routes/:route', 'sending', () => import('./sending/Route.svelte')),
];
