// Who is logged in and which workspace is looked at. Asks with bare `fetch`, because the client needs it.

export interface Grant {
  workspace: string;
  scopes: string[];
}

interface Known {
  account: string | null;
  grants: Grant[];
}

export interface WorkspaceName {
  id: string;
  name: string;
  time_zone: string;
}

const STORED = 'postrider.workspace';

class Session {
  /** `unknown` until the server has answered; `setup` when it has no workspace yet. */
  state: 'unknown' | 'setup' | 'out' | 'in' | 'expired' = $state('unknown');
  known: Known | null = $state(null);
  workspaces: WorkspaceName[] = $state([]);
  /** The workspace that requests are about; empty when there is none. */
  workspace = $state('');
  trouble = $state('');

  get current(): WorkspaceName | undefined {
    return this.workspaces.find((w) => w.id === this.workspace);
  }

  /** Whether I may do this in the current workspace, such as `campaigns:write`. */
  may(scope: string): boolean {
    return this.known?.grants.some((g) => g.workspace === this.workspace && g.scopes.includes(scope)) ?? false;
  }

  /** A request was refused because nobody is logged in: the log-in opens over the page, and what was typed stays. */
  expire() {
    if (this.state === 'in') this.state = 'expired';
  }

  choose(workspace: string) {
    this.workspace = workspace;
    try {
      localStorage.setItem(STORED, workspace);
    } catch {
      // Private windows keep nothing.
    }
  }

  /** Asks who we are. */
  async look(): Promise<void> {
    try {
      const answer = await fetch('/api/v1/session', { headers: { accept: 'application/json' } });
      if (answer.status === 401) {
        this.state = 'out';
      } else if (answer.ok) {
        this.known = (await answer.json()) as Known;
        await this.lookAtWorkspaces();
        this.state = 'in';
      } else {
        const { code, detail } = (await answer.json()) as { code?: string; detail?: string };
        this.state = code === 'not_set_up' ? 'setup' : 'out';
        this.trouble = code === 'not_set_up' ? '' : (detail ?? `The server answered ${answer.status}.`);
        return;
      }
      this.trouble = '';
    } catch {
      this.trouble = 'The server does not answer. Is it running?';
      if (this.state === 'unknown') this.state = 'out';
    }
  }

  private async lookAtWorkspaces(): Promise<void> {
    const answer = await fetch('/api/v1/workspaces');
    this.workspaces = answer.ok ? ((await answer.json()) as { items: WorkspaceName[] }).items : [];
    let stored = '';
    try {
      stored = localStorage.getItem(STORED) ?? '';
    } catch {
      // As above.
    }
    const wanted = [this.workspace, stored].find((id) => this.workspaces.some((w) => w.id === id));
    this.workspace = wanted ?? this.workspaces[0]?.id ?? '';
  }

  /** Logs in; the text of a refusal is thrown. */
  async logIn(mailbox: string, password: string): Promise<void> {
    const answer = await fetch('/api/v1/session', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ mailbox, password }),
    });
    if (!answer.ok) {
      const { detail } = (await answer.json().catch(() => ({}))) as { detail?: string };
      throw new Error(detail ?? `The server answered ${answer.status}.`);
    }
    await this.look();
  }

  async logOut(): Promise<void> {
    await fetch('/api/v1/session', { method: 'DELETE' });
    this.known = null;
    this.state = 'out';
  }
}

export const session = new Session();
