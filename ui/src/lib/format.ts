// Numbers, times and durations as people of the chosen language write them. Times of the API are milliseconds UTC or RFC 3339.

import { i18n } from './i18n.svelte';

/** The zone in which this browser shows times. */
export const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;

const date = (value: string | number) => new Date(value);

/** 48,350 */
export const number = (n: number) => n.toLocaleString(i18n.locale, { useGrouping: 'always' });

/** A share in percent: 97.3 %, and 0.04 % where one digit would read as nothing. */
export function percent(part: number, whole: number): string {
  const share = whole ? part / whole : 0;
  const digits = share > 0 && share < 0.01 ? 2 : share === 0 || share === 1 ? 0 : 1;
  return share.toLocaleString(i18n.locale, { style: 'percent', minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** 21 Nov 2026, 14:32 in the browser's zone, or another. */
export const moment = (value: string | number, timeZone = zone) =>
  date(value).toLocaleString(i18n.locale, { dateStyle: 'medium', timeStyle: 'short', timeZone, hourCycle: 'h23' });

/** The same with seconds and the name of the zone, for the title of a short one. */
export const exactly = (value: string | number, timeZone = zone) =>
  `${date(value).toLocaleString(i18n.locale, { dateStyle: 'full', timeStyle: 'medium', timeZone, hourCycle: 'h23' })} (${timeZone})`;

/** 14:32:05 */
export const clock = (value: string | number) => date(value).toLocaleTimeString(i18n.locale, { hourCycle: 'h23' });

/** 21 November 2026 */
export const day = (value: string | number) => date(value).toLocaleDateString(i18n.locale, { dateStyle: 'long' });

/** 3 minutes ago, in 2 days. */
export function ago(value: string | number, now = Date.now()): string {
  const seconds = (date(value).getTime() - now) / 1000;
  const units: [Intl.RelativeTimeFormatUnit, number][] = [['day', 86_400], ['hour', 3_600], ['minute', 60]];
  const [unit, size] = units.find(([, s]) => Math.abs(seconds) >= s) ?? (['second', 1] as const);
  return new Intl.RelativeTimeFormat(i18n.locale, { numeric: 'auto' }).format(Math.round(seconds / size), unit);
}

/** 4 min 10 s, for what is left or how long it took. */
export function duration(seconds: number): string {
  const part = (n: number, unit: string) => n.toLocaleString(i18n.locale, { style: 'unit', unit, unitDisplay: 'narrow' });
  const s = Math.round(seconds);
  if (s < 60) return part(s, 'second');
  if (s < 3_600) return `${part(Math.floor(s / 60), 'minute')} ${part(s % 60, 'second')}`;
  if (s < 86_400) return `${part(Math.floor(s / 3_600), 'hour')} ${part(Math.floor((s % 3_600) / 60), 'minute')}`;
  return `${part(Math.floor(s / 86_400), 'day')} ${part(Math.floor((s % 86_400) / 3_600), 'hour')}`;
}

/** 4.2 MB */
export function bytes(n: number): string {
  const units = ['byte', 'kilobyte', 'megabyte', 'gigabyte'];
  let at = 0;
  while (n >= 1000 && at < units.length - 1) {
    n /= 1000;
    at += 1;
  }
  return n.toLocaleString(i18n.locale, { style: 'unit', unit: units[at], unitDisplay: at ? 'short' : 'long', maximumFractionDigits: n < 10 && at ? 1 : 0 });
}
