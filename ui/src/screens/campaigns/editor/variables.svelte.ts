// The names that `{{ … }}` may have, and where one is being typed. Values of people are never fetched for it.

import { api, ask } from '../../../lib/api';
import { percent } from '../../../lib/format';
import { t } from '../../../lib/i18n.svelte';

export interface Variable {
  name: string;
  /** What it is, or how many have it. */
  about: string;
  /** Not everybody has one: a fallback is offered. */
  gaps: boolean;
}

/** What every message has, besides the contact's attributes. */
const BUILT_IN = ['mailbox', 'unsubscribe_url', 'preferences_url', 'hosted_url', 'subject', 'controller_name', 'postal_address', 'privacy_url'] as const;

class Variables {
  private attributes: { name: string; share: number | null | undefined }[] = $state.raw([]);
  private asked = '';

  /** Asks the server once for each workspace. */
  async load(workspace: string) {
    if (this.asked === workspace) return;
    this.asked = workspace;
    try {
      this.attributes = (await ask(api.GET('/api/v1/attributes'))).items;
    } catch {
      // Completion without attributes is still some completion; it is asked again with the next editor.
      this.asked = '';
    }
  }

  get all(): Variable[] {
    const own = this.attributes.map(({ name, share }) => ({
      name,
      about: share === null || share === undefined ? t('editor.variable.unknown') : t('editor.variable.share', { share: percent(share, 1) }),
      gaps: share !== 1,
    }));
    const built = BUILT_IN.map((name) => ({ name: name as string, about: t(`editor.variable.${name}`), gaps: false }));
    return [...own, ...built];
  }

  /** Those that begin with what was typed, then those that hold it. */
  matching(typed: string): Variable[] {
    const wanted = typed.toLowerCase();
    const found = this.all.filter((one) => one.name.toLowerCase().includes(wanted));
    return found.sort((a, b) => Number(b.name.toLowerCase().startsWith(wanted)) - Number(a.name.toLowerCase().startsWith(wanted))).slice(0, 12);
  }
}

export const variables = new Variables();

/** What is typed behind `{{` just before the caret, or nothing. */
export function typedIn(before: string): string | undefined {
  return /\{\{\s*([\w.]*)$/.exec(before.slice(-200))?.[1];
}

/** What is put in the place of `{{ na`. */
export const written = (variable: Variable) => (variable.gaps ? `{{ ${variable.name}|default('') }}` : `{{ ${variable.name} }}`);
