// Local times of a place and the instants that they name, by the rules that the browser knows.

/** Every zone that the browser knows. */
export const ZONES: string[] = (() => {
  const all = Intl.supportedValuesOf('timeZone');
  return all.includes('UTC') ? all : [...all, 'UTC'];
})();

const PARTS = { year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' } as const;

/** The wall clock of a zone at an instant, as `2027-03-01T10:00`. */
export function localAt(at: number, zone: string): string {
  const parts = Object.fromEntries(new Intl.DateTimeFormat('en-GB', { ...PARTS, timeZone: zone }).formatToParts(at).map((p) => [p.type, p.value]));
  return `${parts.year}-${parts.month}-${parts.day}T${parts.hour}:${parts.minute}`;
}

/**
 * The instant of a local time. A time that the clock passes over in spring has none: the server takes the moment after, and
 * so does this; of a time that comes twice in autumn the first is meant.
 */
export function instantOf(local: string, zone: string): { at: number; exists: boolean } | undefined {
  // Engines read much into texts that are no dates.
  const wall = /^\d{4}-\d\d-\d\dT\d\d:\d\d$/.test(local) ? Date.parse(`${local}:00Z`) : NaN;
  if (Number.isNaN(wall)) return undefined;
  const offset = (at: number) => Date.parse(`${localAt(at, zone)}:00Z`) - Math.floor(at / 60_000) * 60_000;
  const candidates = [wall - offset(wall - 86_400_000), wall - offset(wall + 86_400_000)].sort((a, b) => a - b);
  for (const at of candidates) if (localAt(at, zone) === local) return { at, exists: true };
  return { at: candidates[1] ?? wall, exists: false };
}
