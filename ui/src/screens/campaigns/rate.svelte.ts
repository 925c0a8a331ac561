// How fast a campaign goes and how long it still takes, from the totals as they come in.

import type { Schemas } from '../../lib/api';

/** The rate is that of this many milliseconds. */
const WINDOW_MS = 30_000;

interface Sample {
  at: number;
  settled: number;
}

/** Deliveries that reached an outcome. */
export const settled = (ledger: Schemas['LedgerView']) => ledger.frozen - ledger.queued - ledger.held;

export class Rate {
  private samples: Sample[] = [];
  /** Outcomes a minute; undefined until two looks lie far enough apart. */
  perMinute: number | undefined = $state();

  /** Takes a look at the totals of a campaign that is being sent. */
  see(report: Schemas['ReportView'], at: number) {
    if (report.state !== 'sending') {
      this.samples = [];
      this.perMinute = undefined;
      return;
    }
    const done = settled(report.ledger);
    const launched = report.launched_at ? Date.parse(report.launched_at) : at;
    // A page that was just opened knows the beginning, if that was not long ago.
    if (!this.samples.length && at - launched < WINDOW_MS) this.samples.push({ at: launched, settled: 0 });
    this.samples.push({ at, settled: done });
    while (this.samples.length > 2 && at - (this.samples[1]?.at ?? at) > WINDOW_MS) this.samples.shift();
    const first = this.samples[0];
    if (first && at - first.at >= 2_000) this.perMinute = ((done - first.settled) / (at - first.at)) * 60_000;
  }
}

/** Seconds until nothing is left at this rate; undefined when that cannot be said. */
export const secondsLeft = (report: Schemas['ReportView'], perMinute: number | undefined) =>
  perMinute && perMinute >= 1 && report.ledger.queued > 0 ? (report.ledger.queued / perMinute) * 60 : undefined;
