// The time zones that this browser knows, with the wanted one always among them.

export function zones(wanted: string): string[] {
  const all = typeof Intl.supportedValuesOf === 'function' ? Intl.supportedValuesOf('timeZone') : [];
  return [...new Set(['UTC', ...all, ...(wanted ? [wanted] : [])])].sort((a, b) => a.localeCompare(b));
}
