// The words of the application in three languages. Catalogues lie in src/i18n/AREA/LANG.json; English is the source, and a
// missing word falls back to it. `common` is always there; the router loads the area of a screen before it shows.

import common from '../i18n/common/en.json';
import type alarms from '../i18n/alarms/en.json';
import type campaigns from '../i18n/campaigns/en.json';
import type contacts from '../i18n/contacts/en.json';
import type egress from '../i18n/egress/en.json';
import type home from '../i18n/home/en.json';
import type queue from '../i18n/queue/en.json';
import type relay from '../i18n/relay/en.json';
import type sending from '../i18n/sending/en.json';
import type settings from '../i18n/settings/en.json';
import type setup from '../i18n/setup/en.json';
import type steer from '../i18n/steer/en.json';

export const LANGUAGES = { en: 'English', it: 'Italiano', pl: 'Polski' } as const;
export type Language = keyof typeof LANGUAGES;
export type Area = 'alarms' | 'common' | 'campaigns' | 'contacts' | 'egress' | 'home' | 'queue' | 'relay' | 'sending' | 'settings' | 'setup' | 'steer';

/** A text with `{name}` places, or one text per plural form of `n`. */
type Word = string | Partial<Record<Intl.LDMLPluralRule, string>>;
type Catalogue = Record<string, Word>;

/** Every key of every area, checked by the compiler. */
export type Key =
  | keyof typeof common
  | keyof typeof alarms
  | keyof typeof campaigns
  | keyof typeof contacts
  | keyof typeof egress
  | keyof typeof home
  | keyof typeof queue
  | keyof typeof relay
  | keyof typeof sending
  | keyof typeof settings
  | keyof typeof setup
  | keyof typeof steer;

const files = import.meta.glob<{ default: Catalogue }>('../i18n/*/*.json');
const STORED = 'postrider.language';

function preferred(): Language {
  try {
    const stored = localStorage.getItem(STORED);
    if (stored && stored in LANGUAGES) return stored as Language;
  } catch {
    // Private windows keep nothing.
  }
  const wanted = navigator.languages.map((tag) => tag.slice(0, 2)).find((tag) => tag in LANGUAGES);
  return (wanted as Language | undefined) ?? 'en';
}

class Words {
  language: Language = $state(preferred());
  private english: Catalogue = $state.raw({ ...(common as Catalogue) });
  private own: Catalogue = $state.raw({});
  private areas = new Set<Area>(['common']);
  /** How this person writes dates and numbers in that language: `en-GB` where the browser says so. */
  locale = $derived(navigator.languages.find((tag) => tag.slice(0, 2) === this.language) ?? this.language);
  private rules = $derived(new Intl.PluralRules(this.language));

  /** Loads an area in English and in the chosen language. */
  async load(area: Area): Promise<void> {
    this.areas.add(area);
    const take = async (language: Language) => (await files[`../i18n/${area}/${language}.json`]?.())?.default ?? {};
    const language = this.language;
    const [english, own] = await Promise.all([take('en'), language === 'en' ? {} : take(language)]);
    this.english = { ...this.english, ...english };
    if (language === this.language) this.own = { ...this.own, ...own };
  }

  async choose(language: Language): Promise<void> {
    this.language = language;
    this.own = {};
    document.documentElement.lang = language;
    try {
      localStorage.setItem(STORED, language);
    } catch {
      // As above.
    }
    await Promise.all([...this.areas].map((area) => this.load(area)));
  }

  /** The text of a key; `{name}` is filled from `params`, `n` also chooses the plural form. */
  text(key: string, params: Record<string, string | number> = {}): string {
    let word = this.own[key] ?? this.english[key] ?? key;
    if (typeof word !== 'string') {
      const n = typeof params.n === 'number' ? params.n : Number(params.n ?? 0);
      word = word[this.rules.select(n)] ?? word.other ?? key;
    }
    return word.replace(/\{(\w+)\}/g, (place, name: string) => {
      const value = params[name];
      if (value === undefined) return place;
      return typeof value === 'number' ? value.toLocaleString(this.locale, { useGrouping: 'always' }) : value;
    });
  }

  /** Whether there is a text for the key, for words that the server names. */
  has(key: string): boolean {
    return key in this.own || key in this.english;
  }
}

export const i18n = new Words();

/** The text of a key in the chosen language. */
export const t = (key: Key, params?: Record<string, string | number>) => i18n.text(key, params);

/** The text of `prefix.word` where the word comes from the server; the word itself when it has none. */
export const said = (prefix: string, word: string, params?: Record<string, string | number>) =>
  i18n.has(`${prefix}.${word}`) ? i18n.text(`${prefix}.${word}`, params) : word.replaceAll('_', ' ');
