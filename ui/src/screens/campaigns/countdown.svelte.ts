// Seconds until a moment, counted where it is shown.

/** Counts down to `until()`; call it while a component begins. */
export function countdown(until: () => number | undefined, over: () => void): { readonly seconds: number } {
  let now = $state(Date.now());
  $effect(() => {
    const end = until();
    if (end === undefined || end <= Date.now()) return;
    const timer = setInterval(() => {
      now = Date.now();
      if (now < end) return;
      clearInterval(timer);
      over();
    }, 250);
    return () => clearInterval(timer);
  });
  return {
    get seconds() {
      const end = until();
      return end === undefined ? 0 : Math.max(0, Math.ceil((end - now) / 1000));
    },
  };
}
