// Whether a page came over plain http from another machine: its browser keeps no log-in then. Knows no element of a page.

/** What to do about it, as `ssh` wants it; nothing when the log-in is kept. */
export function tunnel(place: { protocol: string; hostname: string; port: string }): { command: string; address: string } | undefined {
  const host = place.hostname.toLowerCase().replace(/^\[|\]$/g, '');
  const here = host === 'localhost' || host.endsWith('.localhost') || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
  if (place.protocol !== 'http:' || here) return undefined;
  const port = place.port || '80';
  // The ports below 1024 are not anybody's to listen on.
  const mine = Number(port) < 1024 ? '8025' : port;
  return { command: `ssh -N -L ${mine}:127.0.0.1:${port} ${host}`, address: `http://127.0.0.1:${mine}` };
}
