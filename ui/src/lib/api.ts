// Calls to the server that this page came from, typed by its OpenAPI description. Knows nothing about how answers are shown.

import createClient, { type Middleware } from 'openapi-fetch';
import type { components, paths } from './schema';
import { session } from './session.svelte';

/** The forms of the API, such as `Schemas['CampaignRow']`. */
export type Schemas = components['schemas'];

/** A check's finding inside a problem. */
export type Finding = NonNullable<Schemas['Problem']['findings']>[number];

/** An answer that is no success; the text says what happened and what to do (RFC 9457). */
export class ApiProblem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    detail: string,
    readonly findings: Finding[] = [],
    /** The whole problem document, for those with more in it. */
    readonly body: Record<string, unknown> = {},
  ) {
    super(detail);
  }

  /** Nobody answered, or not in time: asking again may help. */
  get unreachable() {
    return this.status === 0;
  }
}

/** No answer is worth waiting for longer, except where `signal` says so. */
const LIMIT_MS = 30_000;

/** A number that no other request has; `randomUUID` exists on encrypted pages only. */
export function unique(): string {
  return Array.from(crypto.getRandomValues(new Uint32Array(4)), (n) => n.toString(16).padStart(8, '0')).join('');
}

const headers: Middleware = {
  onRequest({ request }) {
    if (session.workspace && !request.headers.has('postrider-workspace')) {
      request.headers.set('postrider-workspace', session.workspace);
    }
    if (request.method === 'POST' && !request.headers.has('idempotency-key')) {
      request.headers.set('idempotency-key', unique());
    }
    return request;
  },
};

/** The typed client: `ask(api.GET('/api/v1/campaigns', { params: { query: { limit: 20 } } }))`. */
export const api = createClient<paths>({
  baseUrl: location.origin,
  fetch: (request) => fetch(request.signal.aborted || request.method !== 'GET' ? request : new Request(request, { signal: AbortSignal.timeout(LIMIT_MS) })),
});
api.use(headers);

/** The data of an answer; throws `ApiProblem` for everything else, and lets the log-in appear when the session is over. */
export async function ask<T>(call: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<T> {
  let answer: Awaited<typeof call>;
  try {
    answer = await call;
  } catch {
    throw new ApiProblem(0, 'unreachable', 'The server does not answer. Nothing was changed by this page; it asks again by itself.');
  }
  if (answer.response.ok) return answer.data as T;
  const problem = asProblem(answer.response.status, answer.error);
  if (problem.status === 401) session.expire();
  throw problem;
}

function asProblem(status: number, error: unknown): ApiProblem {
  const body = (typeof error === 'object' && error !== null ? error : {}) as Record<string, unknown>;
  const text = (key: string) => (typeof body[key] === 'string' ? (body[key] as string) : undefined);
  return new ApiProblem(
    status,
    text('code') ?? 'unknown',
    text('detail') ?? `The server answered ${status}.`,
    Array.isArray(body.findings) ? (body.findings as Finding[]) : [],
    body,
  );
}

/** What an error says, whatever it is. */
export function words(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
