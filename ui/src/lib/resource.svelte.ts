// Something fetched from the server and kept fresh: old content stays while new content comes, and while there is an error.

import { onDestroy } from 'svelte';
import { words } from './api';
import { live } from './live.svelte';

export interface Resource<T> {
  /** What was fetched last. */
  readonly data: T | undefined;
  /** Why the last fetch failed; empty when it did not. */
  readonly trouble: string;
  /** The error itself. */
  readonly error: unknown;
  readonly loading: boolean;
  /** When `data` was fetched. */
  readonly at: number;
  reload(): Promise<void>;
  /** Puts an answer in place that came with a change. */
  put(data: T): void;
}

/**
 * Fetches now, whenever what `fetcher` reads changes, and when something of the kinds `follows` changed at the server.
 * Call it while a component begins.
 */
export function resource<T>(fetcher: () => Promise<T>, options: { follows?: string[]; id?: () => string; pause?: number } = {}): Resource<T> {
  let data: T | undefined = $state.raw();
  let error: unknown = $state.raw();
  let loading = $state(true);
  let at = $state(0);
  let turn = 0;
  let first: Promise<T>;

  const settle = async (mine: number, promise: Promise<T>) => {
    try {
      const got = await promise;
      if (mine !== turn) return;
      data = got;
      error = undefined;
      at = Date.now();
    } catch (failure) {
      if (mine === turn) error = failure;
    } finally {
      if (mine === turn) loading = false;
    }
  };
  const reload = () => {
    turn += 1;
    loading = true;
    return settle(turn, fetcher());
  };
  $effect(() => {
    first = fetcher();
    turn += 1;
    loading = true;
    void settle(turn, first);
  });
  if (options.follows) {
    const mine = options.id;
    onDestroy(live.on(options.follows, (id) => (!mine || !id || id === mine() ? void reload() : undefined), options.pause));
  }
  return {
    get data() {
      return data;
    },
    get error() {
      return error;
    },
    get trouble() {
      return error === undefined ? '' : words(error);
    },
    get loading() {
      return loading;
    },
    get at() {
      return at;
    },
    reload,
    put(fresh) {
      turn += 1;
      data = fresh;
      error = undefined;
      loading = false;
      at = Date.now();
    },
  };
}
