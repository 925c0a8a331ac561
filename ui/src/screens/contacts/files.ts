// Files to and from the server: an upload that tells how far it is, and a download in the name of the current workspace.

import { ApiProblem, unique, type Schemas } from '../../lib/api';
import { session } from '../../lib/session.svelte';

/** Fetches a file and hands it to the browser to keep; a plain link could not name the workspace. */
export async function download(path: string, name: string): Promise<void> {
  const answer = await fetch(path, { headers: { 'postrider-workspace': session.workspace } });
  if (!answer.ok) throw asProblem(answer.status, await answer.text());
  const link = document.createElement('a');
  link.href = URL.createObjectURL(await answer.blob());
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function asProblem(status: number, text: string): ApiProblem {
  let body: Record<string, unknown> = {};
  try {
    body = JSON.parse(text) as Record<string, unknown>;
  } catch {
    // Not one of ours, such as a proxy's page.
  }
  if (status === 401) session.expire();
  return new ApiProblem(status, typeof body.code === 'string' ? body.code : 'unknown', typeof body.detail === 'string' ? body.detail : `The server answered ${status}.`, [], body);
}

export interface Upload {
  done: Promise<Schemas['ImportView']>;
  stop: () => void;
}

/** Sends a file of contacts. `key` lets the same upload be sent again without a second import. */
export function upload(file: File, params: Schemas['ImportParams'], key: string, told: (sent: number, of: number) => void): Upload {
  const request = new XMLHttpRequest();
  const done = new Promise<Schemas['ImportView']>((resolve, reject) => {
    request.open('POST', '/api/v1/imports');
    request.setRequestHeader('postrider-workspace', session.workspace);
    request.setRequestHeader('idempotency-key', key);
    request.upload.onprogress = (event) => told(event.loaded, event.total);
    request.onload = () =>
      request.status >= 200 && request.status < 300 ? resolve(JSON.parse(request.responseText) as Schemas['ImportView']) : reject(asProblem(request.status, request.responseText));
    request.onerror = () => reject(new ApiProblem(0, 'unreachable', 'The upload broke off: the server does not answer. Nothing was imported; send it again.'));
    request.onabort = () => reject(new ApiProblem(0, 'aborted', 'The upload was stopped. Nothing was imported.'));
    const form = new FormData();
    form.append('params', JSON.stringify(params));
    form.append('file', file, file.name);
    request.send(form);
  });
  return { done, stop: () => request.abort() };
}

export { unique };
