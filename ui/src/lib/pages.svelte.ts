// A list that the server gives page by page: first page now, more on demand, kept fresh while nothing more was asked for.

import { onDestroy } from 'svelte';
import { live } from './live.svelte';

export interface Listing<T> {
  items: T[];
  next_cursor?: string | null;
}

export interface Pages<T> {
  readonly items: T[];
  /** Whether the server has more. */
  readonly more: boolean;
  readonly loading: boolean;
  /** Whether anything was fetched yet. */
  readonly begun: boolean;
  readonly error: unknown;
  next(): Promise<void>;
  reload(): Promise<void>;
}

/** Fetches the first page now and whenever what `fetcher` reads changes; `follows` are kinds of live events. */
export function pages<T>(fetcher: (cursor: string | undefined) => Promise<Listing<T>>, follows: string[] = []): Pages<T> {
  let items: T[] = $state.raw([]);
  let cursor: string | undefined = $state();
  let loading = $state(true);
  let begun = $state(false);
  let error: unknown = $state.raw();
  let turn = 0;
  let asked = 1;

  const take = async (mine: number, promise: Promise<Listing<T>>, add: boolean) => {
    try {
      const page = await promise;
      if (mine !== turn) return;
      items = add ? [...items, ...page.items] : page.items;
      cursor = page.next_cursor ?? undefined;
      error = undefined;
    } catch (failure) {
      if (mine === turn) error = failure;
    } finally {
      if (mine === turn) {
        loading = false;
        begun = true;
      }
    }
  };
  const reload = () => {
    turn += 1;
    asked = 1;
    loading = true;
    return take(turn, fetcher(undefined), false);
  };
  $effect(() => {
    const first = fetcher(undefined);
    turn += 1;
    asked = 1;
    loading = true;
    void take(turn, first, false);
  });
  if (follows.length) onDestroy(live.on(follows, () => void (asked === 1 ? reload() : undefined), 1000));
  return {
    get items() {
      return items;
    },
    get more() {
      return cursor !== undefined;
    },
    get loading() {
      return loading;
    },
    get begun() {
      return begun;
    },
    get error() {
      return error;
    },
    async next() {
      if (loading || cursor === undefined) return;
      loading = true;
      asked += 1;
      await take(turn, fetcher(cursor), true);
    },
    reload,
  };
}
