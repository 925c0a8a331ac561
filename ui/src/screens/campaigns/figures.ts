// Counts before sending and the curve afterwards.

import { api, ask } from '../../lib/api';

export interface AudienceCountView {
  recipients: number;
  named: number;
  excluded: Record<string, number>;
  at: string;
}
export interface SeriesView {
  bucket_seconds: number;
  points: { at: string; accepted: number; bounced: number; expired: number; deferred: number }[];
}
type Get = <T>(path: string, init: unknown) => Promise<{ data?: T; error?: unknown; response: Response }>;
const get = api.GET as unknown as Get;

/** How many people would get a campaign now. */
export const audienceOf = (campaign: string) => ask(get<AudienceCountView>('/api/v1/campaigns/{campaign}/audience', { params: { path: { campaign } } }));
/** What happened over time. */
export const seriesOf = (campaign: string) => ask(get<SeriesView>('/api/v1/campaigns/{campaign}/series', { params: { path: { campaign } } }));
