// What the words of the server mean for the eye: a kind of status for each, and the name that a contact's attributes give.

import type { Schemas } from '../../lib/api';
import type { Kind } from '../../parts/Status.svelte';

export const ADDRESS_KIND: Record<Schemas['AddressState'], Kind> = { mailable: 'ok', unchecked: 'idle', no_mail_server: 'bad', null_mx: 'bad' };
export const CONSENT_KIND: Record<Schemas['ConsentState'] | 'erased', Kind> = { granted: 'ok', requested: 'info', refused: 'bad', withdrawn: 'bad', erased: 'idle' };
export const IMPORT_KIND: Record<Schemas['ImportState'], Kind> = { waiting: 'idle', running: 'info', done: 'ok', stopped: 'warn', failed: 'bad' };
export const DELIVERY_KIND: Record<Schemas['ReportStatus'], Kind> = {
  SENT: 'ok',
  BOUNCED: 'bad',
  TIMEOUT: 'warn',
  EXPIRED: 'bad',
  WITHHELD: 'idle',
  CANCELLED: 'idle',
  ASSUMED: 'info',
  QUEUED: 'info',
  IN_DOUBT: 'warn',
  HELD: 'warn',
};
export const ATTEMPT_KIND: Record<Schemas['AttemptResult'], Kind> = { accepted: 'ok', deferred: 'warn', rejected: 'bad', broken: 'warn' };

export const BASES: Schemas['LegalBasis'][] = ['consent', 'soft_opt_in', 'contract', 'legal_obligation', 'legitimate_interest'];

/** The attributes by name; the API's description only says that they are an object. */
export const attributesOf = (contact: Pick<Schemas['ContactView'], 'attributes'>) => contact.attributes as Record<string, string | number | boolean>;

/** The person's name as far as the usual attributes tell it. */
export function personName(contact: Pick<Schemas['ContactView'], 'attributes'>): string {
  const attributes = attributesOf(contact);
  const of = (names: string[]) => {
    for (const name of names) {
      const value = attributes[name];
      if (typeof value === 'string' && value.trim()) return value.trim();
    }
    return '';
  };
  const parts = [of(['first_name', 'firstname', 'given_name', 'nome', 'imie']), of(['last_name', 'lastname', 'surname', 'family_name', 'cognome', 'nazwisko'])];
  return parts.filter(Boolean).join(' ') || of(['name', 'full_name', 'display_name', 'nominativo']);
}

/** A day as a moment of the browser's zone, for the API: noon, unless that is not yet. */
export function ofDay(day: string): string {
  const noon = new Date(`${day}T12:00:00`);
  return new Date(Math.min(noon.getTime(), Date.now())).toISOString();
}

/** Today as a date field writes it. */
export function today(): string {
  const now = new Date();
  return new Date(now.getTime() - now.getTimezoneOffset() * 60_000).toISOString().slice(0, 10);
}
