// What can be done to mail that waits: which acts there are, and a scope in words. Fetches nothing.

import type { Schemas } from '../../lib/api';
import { t } from '../../lib/i18n.svelte';
import type { Kind } from '../../parts/Status.svelte';
import { sourceOf, titleOf } from '../queue/names.svelte';

export type Scope = Schemas['ScopeView'];
export type Rule = Schemas['RuleView'];
export type Action = Schemas['SteerAction'];

/** Those that stand until they end, then those that are done once. */
export const STANDING = ['suspend', 'hold', 'speed', 'reroute'] as const satisfies Action[];
export const ONCE = ['release', 'cancel', 'bounce'] as const satisfies Action[];
export const ACTIONS: Action[] = [...STANDING, ...ONCE];
export const isOnce = (action: Action): action is (typeof ONCE)[number] => (ONCE as readonly Action[]).includes(action);
/** What cannot be taken back. */
export const isFinal = (action: Action) => action === 'cancel' || action === 'bounce';

/** From this many on the number has to be typed. */
export const TYPED_FROM = 10_000;

/** What somebody without the scope `admin` may steer. */
export const isNarrow = (scope: Scope) => Boolean(scope.campaign ?? scope.message ?? scope.delivery);

/** A scope in words; `campaign` is the name of its campaign where it is known. */
export function words(scope: Scope, campaign = ''): string {
  const parts = [
    scope.campaign && t('steer.scope.campaign', { name: campaign || scope.campaign }),
    scope.stream && t(`steer.scope.stream.${scope.stream}`),
    scope.sending_domain && t('steer.scope.sending_domain', { name: scope.sending_domain }),
    scope.site && t('steer.scope.site', { name: titleOf(scope.site) }),
    scope.domain && t('steer.scope.domain', { name: scope.domain }),
    scope.source && t('steer.scope.source', { name: sourceOf(scope.source) }),
    scope.message && t('steer.scope.message'),
    scope.delivery && t('steer.scope.delivery'),
  ].filter(Boolean);
  return parts.length ? parts.join(', ') : t('steer.scope.everything');
}

const OF_STATE: Record<string, Kind> = { stands: 'warn', working: 'info', undoing: 'info', over: 'idle' };
export const kindOfRule = (state: string): Kind => OF_STATE[state] ?? 'idle';
