// Looks again at what moves without an event of its own: events tell of states, not of each delivery. A slow server is asked
// more seldom, a page that nobody looks at not at all.

import { untrack } from 'svelte';

/** The pause is at least so many times what the last look took. */
const TIMES = 5;

/** Calls `look` while `moves` says so, `pause` ms after the last one was answered. Call it while a component begins. */
export function pace(moves: () => boolean, pause: number, look: () => Promise<unknown>) {
  const moving = $derived(moves());
  $effect(() => {
    if (!moving) return;
    let timer: ReturnType<typeof setTimeout>;
    let ended = false;
    const next = (wait: number) => (timer = setTimeout(() => void again(), wait));
    const again = async () => {
      const began = Date.now();
      if (document.visibilityState === 'visible') await untrack(look);
      if (!ended) next(Math.max(pause, (Date.now() - began) * TIMES));
    };
    next(pause);
    return () => {
      ended = true;
      clearTimeout(timer);
    };
  });
}
