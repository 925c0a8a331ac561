// Asks again and again, never twice at once, and not while nobody looks.

/** Calls `ask` now and then `every` milliseconds after its last end; returns what stops it. */
export function repeat(ask: () => Promise<void>, every: number): () => void {
  let stopped = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const turn = async () => {
    if (document.visibilityState === 'visible') await ask();
    if (!stopped) timer = setTimeout(turn, every);
  };
  void turn();
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}
