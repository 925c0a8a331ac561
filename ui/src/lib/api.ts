// Calls to the server that this page came from. Knows the API's forms, nothing about how they are shown.

/** An answer that is no success; the text says what to do (RFC 9457). */
export class ApiProblem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    detail: string,
  ) {
    super(detail);
  }
}

export interface WhoAmI {
  account: string | null;
  grants: { workspace: string; scopes: string[] }[];
}

export interface Workspace {
  id: string;
  name: string;
}

export interface Campaign {
  id: string;
  name: string;
  state: string;
}

/** frozen = accepted + rejected + expired + withheld + cancelled + assumed + held + queued; in_doubt is part of queued. */
export interface Ledger {
  frozen: number;
  accepted: number;
  rejected: number;
  expired: number;
  withheld: number;
  cancelled: number;
  assumed: number;
  held: number;
  queued: number;
  in_doubt: number;
}

export interface Report extends Campaign {
  ledger: Ledger;
  excluded: Record<string, number>;
}

interface Listing<T> {
  items: T[];
  next_cursor: string | null;
}

export type Readiness = { state: 'asking' | 'ready' } | { state: 'not_ready'; why: string } | { state: 'gone' };

/** No answer is worth waiting for longer; the next question comes soon. */
const LIMIT_MS = 15_000;

async function call<T>(method: string, path: string, body?: unknown, workspace?: string): Promise<T> {
  const headers: Record<string, string> = { accept: 'application/json' };
  if (body !== undefined) headers['content-type'] = 'application/json';
  if (workspace) headers['postrider-workspace'] = workspace;
  let answer: Response;
  try {
    answer = await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(LIMIT_MS),
    });
  } catch {
    throw new ApiProblem(0, 'unreachable', 'The server does not answer. Is it running?');
  }
  if (!answer.ok) throw await problem(answer);
  return (answer.status === 204 ? undefined : await answer.json()) as T;
}

async function problem(answer: Response): Promise<ApiProblem> {
  try {
    const { code, detail } = (await answer.json()) as { code?: string; detail?: string };
    return new ApiProblem(answer.status, code ?? 'unknown', detail ?? `The server answered ${answer.status}.`);
  } catch {
    return new ApiProblem(answer.status, 'unknown', `The server answered ${answer.status}.`);
  }
}

export async function readiness(): Promise<Readiness> {
  try {
    const answer = await fetch('/readyz', { signal: AbortSignal.timeout(LIMIT_MS) });
    return answer.ok ? { state: 'ready' } : { state: 'not_ready', why: (await problem(answer)).message };
  } catch {
    return { state: 'gone' };
  }
}

export const logIn = (mailbox: string, password: string) => call<unknown>('POST', '/api/v1/session', { mailbox, password });
export const logOut = () => call<void>('DELETE', '/api/v1/session');

/** Null when nobody is logged in. */
export async function whoAmI(): Promise<WhoAmI | null> {
  try {
    return await call<WhoAmI>('GET', '/api/v1/session');
  } catch (error) {
    if (error instanceof ApiProblem && error.status === 401) return null;
    throw error;
  }
}

export const workspaces = async () => (await call<Listing<Workspace>>('GET', '/api/v1/workspaces')).items;

export const campaigns = async (workspace: string) =>
  (await call<Listing<Campaign>>('GET', '/api/v1/campaigns?limit=20', undefined, workspace)).items;

export const report = (workspace: string, campaign: string) =>
  call<Report>('GET', `/api/v1/campaigns/${encodeURIComponent(campaign)}/report`, undefined, workspace);
