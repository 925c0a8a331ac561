// What changes at the server, as it happens: one stream of events for all that is shown. An event only says what to fetch again.

import { session } from './session.svelte';

type Listener = { kinds: string[]; heard: (id: string) => void };

/** Connections are tried again after this many milliseconds, then more slowly. */
const RETRY_MS = [1_000, 2_000, 5_000, 10_000];
/** Without news that long, what is shown is fetched again anyway. */
const STALE_MS = 20_000;

class Live {
  /** `gone`: the server does not answer; it is tried again by itself. */
  state: 'connecting' | 'live' | 'gone' = $state('connecting');
  /** How often it came back after it was gone. */
  backs = $state(0);
  /** When the last sign of life came. */
  since = $state(Date.now());
  private listeners = new Set<Listener>();
  private source: EventSource | undefined;
  private failures = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;

  /** Begins, or begins anew for another workspace. */
  open() {
    clearTimeout(this.timer);
    this.source?.close();
    const source = new EventSource(`/api/v1/live?workspace=${encodeURIComponent(session.workspace)}`);
    this.source = source;
    source.addEventListener('hello', () => {
      const again = this.state === 'gone';
      this.failures = 0;
      this.state = 'live';
      this.since = Date.now();
      if (again) {
        this.backs += 1;
        this.tell('reload', '');
      }
    });
    for (const kind of ['campaign', 'import', 'contact', 'domain', 'route', 'list', 'inquiry', 'suppression', 'message', 'queue', 'alarm', 'source', 'certificate', 'credential', 'relay_note']) {
      source.addEventListener(kind, (event) => this.heard(event));
    }
    source.addEventListener('reload', (event) => this.heard(event));
    source.onerror = () => {
      source.close();
      if (this.source !== source) return;
      this.failures += 1;
      if (this.failures > 1) this.state = 'gone';
      this.timer = setTimeout(() => this.open(), RETRY_MS[Math.min(this.failures, RETRY_MS.length) - 1]);
    };
  }

  close() {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = undefined;
  }

  private heard(event: MessageEvent<string>) {
    this.since = Date.now();
    let id = '';
    try {
      id = (JSON.parse(event.data) as { id?: string }).id ?? '';
    } catch {
      // An event without data is still an event.
    }
    this.tell(event.type, id);
  }

  private tell(kind: string, id: string) {
    for (const listener of this.listeners) {
      if (kind === 'reload' || listener.kinds.includes(kind)) listener.heard(kind === 'reload' ? '' : id);
    }
  }

  /**
   * Calls `heard` when something of these kinds changed (with its id, empty for "anything"), at most once in `pause` ms, and
   * every 20 s in any case. Returns what ends it.
   */
  on(kinds: string[], heard: (id: string) => void, pause = 500): () => void {
    let last = 0;
    let later: ReturnType<typeof setTimeout> | undefined;
    const waiting = new Set<string>();
    const call = (id: string) => {
      waiting.add(id);
      if (later !== undefined) return;
      const wait = Math.max(0, last + pause - Date.now());
      later = setTimeout(() => {
        later = undefined;
        last = Date.now();
        const ids = [...waiting];
        waiting.clear();
        if (document.visibilityState !== 'visible') return;
        // "Anything" covers the others.
        for (const one of ids.includes('') ? [''] : ids) heard(one);
      }, wait);
    };
    const listener = { kinds, heard: call };
    this.listeners.add(listener);
    const stale = setInterval(() => call(''), STALE_MS);
    const seen = () => document.visibilityState === 'visible' && call('');
    document.addEventListener('visibilitychange', seen);
    return () => {
      this.listeners.delete(listener);
      clearInterval(stale);
      clearTimeout(later);
      document.removeEventListener('visibilitychange', seen);
    };
  }
}

export const live = new Live();
