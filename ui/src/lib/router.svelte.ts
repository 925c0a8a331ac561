// Addresses of the application. A link is a plain <a href="/…">; nothing here knows a screen.

class Router {
  path = $state(location.pathname);
  query = $state(new URLSearchParams(location.search));
  private guards = new Set<() => boolean>();

  constructor() {
    addEventListener('popstate', () => this.read());
    addEventListener('click', (event) => this.clicked(event));
    addEventListener('beforeunload', (event) => {
      if ([...this.guards].some((blocks) => blocks())) event.preventDefault();
    });
  }

  private read() {
    this.path = location.pathname;
    this.query = new URLSearchParams(location.search);
  }

  private clicked(event: MouseEvent) {
    const link = (event.target as Element | null)?.closest?.('a');
    if (!link || event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const to = new URL(link.href, location.href);
    if (to.origin !== location.origin || link.target || link.hasAttribute('download') || /^\/(api|h|u|p|metrics)(\/|$)/.test(to.pathname)) return;
    event.preventDefault();
    if (to.pathname === location.pathname && to.search === location.search && to.hash) {
      document.querySelector(to.hash)?.scrollIntoView();
      return;
    }
    this.go(to.pathname + to.search);
  }

  /** Opens a page of the application. */
  go(to: string, how: 'push' | 'replace' = 'push') {
    if (how === 'push') history.pushState(null, '', to);
    else history.replaceState(null, '', to);
    const before = this.path;
    this.read();
    if (this.path !== before) scrollTo(0, 0);
  }

  /** Changes what is asked for on this page, so that the address can be shared. Empty values go away. */
  ask(changes: Record<string, string | null>) {
    const query = new URLSearchParams(location.search);
    for (const [name, value] of Object.entries(changes)) {
      if (value) query.set(name, value);
      else query.delete(name);
    }
    const text = query.toString();
    this.go(this.path + (text && `?${text}`), 'replace');
  }

  /** Closing the tab asks for leave while `blocks` says so. Returns what ends it. */
  guard(blocks: () => boolean): () => void {
    this.guards.add(blocks);
    return () => this.guards.delete(blocks);
  }
}

export const router = new Router();

/** The parts of `path` that stand for `:names` in `pattern`; null when it is another page. */
export function match(pattern: string, path: string): Record<string, string> | null {
  const wanted = pattern.split('/');
  const found = path.replace(/\/$/, '').split('/');
  if (wanted.length !== Math.max(found.length, path === '/' ? 2 : 0)) return null;
  const params: Record<string, string> = {};
  for (const [i, part] of wanted.entries()) {
    const here = found[i] ?? '';
    if (part.startsWith(':')) params[part.slice(1)] = decodeURIComponent(here);
    else if (part !== here) return null;
  }
  return params;
}
