// How an application stands, in one word.

import type { Schemas } from '../../lib/api';
import { t } from '../../lib/i18n.svelte';
import type { Kind } from '../../parts/Status.svelte';

export function lightOf(one: Schemas['CredentialView']): { kind: Kind; text: string } {
  if (one.revoked_at) return { kind: 'bad', text: t('relay.state.revoked') };
  return one.first_message_at ? { kind: 'ok', text: t('relay.state.connected') } : { kind: 'idle', text: t('relay.state.waits') };
}
