// How many alarms nobody has taken note of yet, for the mark in the side bar. Fetched when one changes, and every 20 s.

import { api, ask } from './api';
import { live } from './live.svelte';
import { session } from './session.svelte';

class OpenAlarms {
  n = $state(0);
  /** Whether one of them is urgent. */
  urgent = $state(false);

  async look(): Promise<void> {
    if (session.state !== 'in' || !session.workspace || !session.may('campaigns:read')) return;
    try {
      const { items } = await ask(api.GET('/api/v1/alarms', { params: { query: { state: 'open', limit: 100 } } }));
      this.n = items.length;
      this.urgent = items.some((alarm) => alarm.severity === 'critical');
    } catch {
      // The page says that the server does not answer; the mark stays as it was.
    }
  }

  /** Keeps it fresh while one workspace is looked at; returns what ends that. */
  follow(): () => void {
    void this.look();
    return live.on(['alarm'], () => void this.look(), 1_000);
  }
}

export const openAlarms = new OpenAlarms();
