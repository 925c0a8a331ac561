// Days of a workspace: they begin at midnight of its zone, wherever the browser is.

const QUARTER_MS = 15 * 60_000;

/** When the day of `now` began in a zone, and when the next one begins. Offsets of zones are whole quarters of an hour. */
export function dayOf(now: number, zone: string): { begins: number; ends: number } {
  const format = new Intl.DateTimeFormat('en-GB', { timeZone: zone, dateStyle: 'short' });
  const today = format.format(now);
  let begins = Math.floor(now / QUARTER_MS) * QUARTER_MS;
  while (format.format(begins - QUARTER_MS) === today) begins -= QUARTER_MS;
  let ends = begins + QUARTER_MS;
  while (format.format(ends) === today) ends += QUARTER_MS;
  return { begins, ends };
}
