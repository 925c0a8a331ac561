// What states and statuses look like, and what a remote host's reply means in plain words. Fetches nothing.

import type { Schemas } from '../../lib/api';
import type { Kind } from '../../parts/Status.svelte';

export type State = Schemas['CampaignState'];
export type RowStatus = Schemas['ReportStatus'];

export const STATES: State[] = ['draft', 'scheduled', 'freezing', 'sending', 'paused', 'done', 'stopped', 'missed'];

/** In the order in which people ask for them. */
export const STATUSES: RowStatus[] = ['SENT', 'BOUNCED', 'TIMEOUT', 'EXPIRED', 'QUEUED', 'IN_DOUBT', 'HELD', 'WITHHELD', 'ASSUMED', 'CANCELLED'];

const OF_STATE: Record<State, Kind> = {
  draft: 'idle',
  scheduled: 'info',
  freezing: 'info',
  sending: 'info',
  paused: 'warn',
  done: 'ok',
  stopped: 'warn',
  missed: 'bad',
};
export const kindOfState = (state: State): Kind => OF_STATE[state];

const OF_STATUS: Record<RowStatus, Kind> = {
  SENT: 'ok',
  BOUNCED: 'bad',
  TIMEOUT: 'bad',
  EXPIRED: 'bad',
  QUEUED: 'info',
  IN_DOUBT: 'warn',
  HELD: 'warn',
  WITHHELD: 'idle',
  ASSUMED: 'warn',
  CANCELLED: 'idle',
};
export const kindOfStatus = (status: RowStatus): Kind => OF_STATUS[status];

const OF_RESULT: Record<Schemas['AttemptResult'], Kind> = { accepted: 'ok', deferred: 'warn', rejected: 'bad', broken: 'bad' };
export const kindOfResult = (result: Schemas['AttemptResult']): Kind => OF_RESULT[result];

/** Nothing more will happen. */
export const isOver = (state: State) => state === 'done' || state === 'stopped';
/** Something is happening right now. */
export const isMoving = (state: State) => state === 'freezing' || state === 'sending' || state === 'paused';
/** It can still be written. */
export const isOpen = (state: State) => state === 'draft' || state === 'missed';
/** Statuses whose count the totals hold, as the totals name them. */
export const COUNTED: Partial<Record<RowStatus, keyof Schemas['LedgerView']>> = {
  SENT: 'accepted',
  BOUNCED: 'rejected',
  QUEUED: 'queued',
  IN_DOUBT: 'in_doubt',
  HELD: 'held',
  WITHHELD: 'withheld',
  ASSUMED: 'assumed',
  CANCELLED: 'cancelled',
};

const BY_STATUS: [RegExp, string][] = [
  [/^[45]\.1\.(2|10)/, 'bad_domain'],
  [/^5\.4\.4/, 'bad_domain'],
  [/^[45]\.1\.6/, 'moved_recipient'],
  [/^[45]\.1\.[0134]/, 'invalid_recipient'],
  [/^5\.2\.1/, 'disabled_recipient'],
  [/^[45]\.2\.2/, 'mailbox_full'],
  [/^[45]\.(2\.3|3\.4)/, 'too_big'],
  [/^4\.7/, 'transient'],
  [/^4\.[34]/, 'transient'],
];
const BY_WORDS: [RegExp, string][] = [
  [/block ?list|blacklist|blocked using|spamhaus/i, 'blocked_ip'],
  [/\bspam\b|unsolicited|virus/i, 'spam_content'],
  [/dmarc|dkim|\bspf\b|unauthenticated|reverse dns|ptr record/i, 'auth_failed'],
  [/rate limit|too quickly|too many/i, 'rate_limited'],
  [/greylist|graylist|try again later/i, 'transient'],
];

/**
 * What a row's last reply means, as a word of `campaigns.class`; empty when it says nothing that we know. Only for reading:
 * the server's own judgement, which suppresses, stands with each attempt.
 */
export function readReply(detail: string): string {
  if (/unable to reach/i.test(detail)) return 'unreachable_host';
  const [, code = '', enhanced = ''] = /^([245]\d\d)[ -]?([245]\.\d{1,3}\.\d{1,3})?/.exec(detail) ?? [];
  if (!code || code.startsWith('2')) return '';
  const said = BY_WORDS.find(([words]) => words.test(detail))?.[1];
  const known = BY_STATUS.find(([pattern]) => pattern.test(enhanced))?.[1];
  if (said) return said;
  if (known) return known;
  if (/^5\.7/.test(enhanced)) return 'recipient_policy';
  if (code === '552') return 'mailbox_full';
  return code.startsWith('4') ? 'transient' : 'unknown';
}
