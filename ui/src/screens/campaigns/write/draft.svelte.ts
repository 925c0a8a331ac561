// The text that is being written: held here, copied into this browser at each change, saved at the server soon after. Nothing
// that was typed depends on a request that works. Knows nothing about how it is shown.

import { ApiProblem, api, ask, unique, words, type Schemas } from '../../../lib/api';

export type Draft = Required<Schemas['DraftView']>;
export type Format = NonNullable<Draft['format']>;
export type Audience = Required<Schemas['AudienceView']>;
export type Campaign = Schemas['CampaignView'];

/** What is said about the campaign beside its text. */
export interface About {
  name: string;
  audience: Audience;
}

/** Two versions of one text. */
export interface Conflict {
  theirs: Draft;
  theirRev: number;
  savedAt: string | undefined;
  /** Fields that both changed. */
  fields: (keyof Draft)[];
  /** Fields that were changed here. */
  mine: (keyof Draft)[];
}

interface Copy {
  rev: number;
  draft: Draft;
  about: About;
  /** What the text was made from. */
  base: Draft;
  at: number;
}

export const EMPTY: Draft = { subject: '', preheader: '', from_name: '', from_mailbox: '', reply_to: '', format: null, body: '', text: '' };
const FIELDS = Object.keys(EMPTY) as (keyof Draft)[];

/** The server gets a change after so many milliseconds without another. */
const QUIET_MS = 800;
/** … or after so many in any case. */
const LATEST_MS = 2_000;
/** Tried again after so many. */
const AGAIN_MS = 5_000;
/** Copied into this browser at most once in so many. */
const COPY_MS = 300;
/** A copy of another tab that is younger may still be saved by that tab. */
const YOUNG_MS = 4_000;

const differs = (a: Draft, b: Draft) => FIELDS.filter((field) => a[field] !== b[field]);
const alike = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);
const full = (draft: Schemas['DraftView'] | undefined): Draft => ({ ...EMPTY, ...draft });
const fullAudience = (audience: Schemas['AudienceView']): Audience => ({ include: audience.include ?? [], exclude: audience.exclude ?? [], purpose: audience.purpose ?? null });

/** One name for this tab, so that two tabs do not overwrite each other's copies. */
function tab(): string {
  try {
    const known = sessionStorage.getItem('postrider.tab');
    if (known) return known;
    const made = unique().slice(0, 8);
    sessionStorage.setItem('postrider.tab', made);
    return made;
  } catch {
    return 'tab';
  }
}

export class Writing {
  /** As the server has it; undefined until it answered. */
  campaign: Campaign | undefined = $state.raw();
  draft: Draft = $state.raw(EMPTY);
  about: About = $state.raw({ name: '', audience: { include: [], exclude: [], purpose: null } });
  /** `waiting`: a change is not at the server yet. */
  state: 'saved' | 'waiting' | 'saving' | 'failed' = $state('saved');
  /** Why the last save failed. */
  error: unknown = $state.raw();
  /** Why it could not be opened. */
  trouble: unknown = $state.raw();
  conflict: Conflict | undefined = $state.raw();
  /** How often something new came to be at the server: what shows the server's view looks again. */
  saves = $state(0);
  /** When the text was typed that was brought back from this browser. */
  broughtBack: number | undefined = $state();
  /** Grows when the text was put in place from elsewhere: editors read it anew. */
  placed = $state(0);
  /** The browser keeps no copies, so closing the tab must ask. */
  uncopied = $state(false);

  private base: Draft = EMPTY;
  private baseAbout: About = { name: '', audience: { include: [], exclude: [], purpose: null } };
  private timer: ReturnType<typeof setTimeout> | undefined;
  private copyTimer: ReturnType<typeof setTimeout> | undefined;
  private dirtySince = 0;
  private copiedAt = 0;
  private young = false;
  private running = false;
  private over = false;
  private readonly prefix: string;
  private readonly key: string;

  constructor(readonly id: string) {
    this.prefix = `postrider.text.${id}.`;
    this.key = this.prefix + tab();
  }

  /** Whether the text may be changed at all. */
  get open() {
    return this.campaign?.state === 'draft';
  }
  /** Whether something is not at the server. */
  get dirty() {
    return differs(this.draft, this.base).length > 0 || !alike(this.about, this.baseAbout);
  }

  async load() {
    this.trouble = undefined;
    try {
      this.take(await ask(api.GET('/api/v1/campaigns/{campaign}', { params: { path: { campaign: this.id } } })));
    } catch (error) {
      this.trouble = error;
      return;
    }
    this.put(this.base, this.baseAbout);
    this.bringBack();
    // A copy that is only seconds old may belong to an open tab, which saves it itself; if it is still there later, it was left.
    if (this.young) setTimeout(() => !this.over && !this.dirty && !this.conflict && void this.follow().then(() => this.bringBack()), YOUNG_MS);
  }

  /** Puts in place what this browser kept and the server does not have. */
  private bringBack() {
    const copy = this.copies()[0];
    if (!copy || this.dirty || !this.open) return;
    const mine = full(copy.draft);
    const changed = differs(mine, full(copy.base));
    if (!differs(mine, this.base).length && alike(copy.about, this.baseAbout)) {
      this.forget();
      return;
    }
    this.broughtBack = copy.at;
    if (copy.rev === this.campaign?.draft_rev) {
      this.put(mine, copy.about);
      this.touched();
    } else {
      this.put(mine, this.baseAbout);
      this.meet(full(copy.base), changed, this.base, this.campaign?.draft_rev ?? 0, undefined);
    }
  }

  /** Changes fields of the text. */
  set(fields: Partial<Draft>) {
    this.draft = { ...this.draft, ...fields };
    this.touched();
  }

  /** Changes name or recipients. */
  say(fields: Partial<About>) {
    this.about = { ...this.about, ...fields };
    this.touched();
  }

  /** Puts a whole text in place, such as one of the past or one of a template. */
  replace(fields: Partial<Draft>) {
    this.draft = { ...this.draft, ...fields };
    this.placed += 1;
    this.touched();
  }

  /** Saves now what is not saved; true when everything is at the server. */
  async flush(): Promise<boolean> {
    clearTimeout(this.timer);
    while (this.running) await new Promise((done) => setTimeout(done, 50));
    if (this.dirty && !this.conflict) await this.save();
    return !this.dirty && !this.conflict;
  }

  /** Somebody changed the campaign: what is shown follows unless there are changes here. */
  async follow() {
    if (this.running || this.dirty || this.conflict || !this.campaign) return;
    try {
      const fresh = await ask(api.GET('/api/v1/campaigns/{campaign}', { params: { path: { campaign: this.id } } }));
      if (this.running || this.dirty) return;
      const other = fresh.draft_rev !== this.campaign.draft_rev || fresh.rev !== this.campaign.rev || fresh.state !== this.campaign.state;
      if (!other) return;
      const text = differs(full(fresh.draft), this.base).length > 0;
      this.take(fresh);
      this.draft = this.base;
      this.about = this.baseAbout;
      if (text) this.placed += 1;
      this.saves += 1;
    } catch {
      // The next event, or the next save, finds it.
    }
  }

  /** Ends the conflict with this text. What the other wrote stays in the history, and so does what was written here. */
  async resolve(chosen: Draft) {
    const conflict = this.conflict;
    if (!conflict || !this.campaign) return;
    const mine = this.draft;
    this.campaign = { ...this.campaign, draft_rev: conflict.theirRev };
    this.base = conflict.theirs;
    this.conflict = undefined;
    // Mine goes to the server first in any case: the history keeps it.
    if (differs(mine, chosen).length && differs(mine, conflict.theirs).length) {
      await this.save();
      if (this.conflict) return;
    }
    this.draft = chosen;
    this.placed += 1;
    this.touched();
    await this.flush();
  }

  /** The page is left: what is not saved is copied and sent. */
  end() {
    this.over = true;
    clearTimeout(this.timer);
    this.keep();
    if (this.dirty && this.open && !this.conflict) void this.save();
  }

  private take(campaign: Campaign) {
    this.campaign = campaign;
    this.base = full(campaign.draft);
    this.baseAbout = { name: campaign.name, audience: fullAudience(campaign.audience) };
  }

  private put(draft: Draft, about: About) {
    this.draft = draft;
    this.about = about;
    this.placed += 1;
  }

  private touched() {
    if (!this.open) return;
    if (!this.dirty) {
      // Changed and changed back.
      if (!this.running) this.settle();
      return;
    }
    if (this.state !== 'saving') this.state = 'waiting';
    // The first change is copied at once: a browser that is killed tells nobody.
    if (Date.now() - this.copiedAt > COPY_MS) this.keep();
    else {
      clearTimeout(this.copyTimer);
      this.copyTimer = setTimeout(() => this.keep(), COPY_MS);
    }
    this.dirtySince ||= Date.now();
    this.later(Math.max(0, Math.min(QUIET_MS, this.dirtySince + LATEST_MS - Date.now())));
  }

  private later(ms: number) {
    clearTimeout(this.timer);
    if (!this.over) this.timer = setTimeout(() => void this.save(), ms);
  }

  private settle() {
    this.state = 'saved';
    this.error = undefined;
    this.dirtySince = 0;
    this.forget();
  }

  private async save(): Promise<void> {
    if (this.running || this.conflict || !this.campaign || !this.open) return;
    const draft = this.draft;
    const about = this.about;
    this.running = true;
    this.state = 'saving';
    this.dirtySince = 0;
    try {
      if (differs(draft, this.base).length) await this.saveText(draft);
      if (!alike(about, this.baseAbout) && !this.conflict) await this.saveAbout(about);
      this.error = undefined;
      this.saves += 1;
    } catch (error) {
      this.error = error;
    } finally {
      this.running = false;
    }
    if (this.error !== undefined || this.conflict) {
      this.state = 'failed';
      this.keep();
      // What was refused is not asked again until it changes; what did not arrive is.
      const waits = this.error instanceof ApiProblem && (this.error.unreachable || this.error.status >= 500 || this.error.status === 429);
      if (waits && !this.conflict) this.later(AGAIN_MS);
    } else if (this.dirty) {
      this.state = 'waiting';
      this.touched();
    } else {
      this.settle();
    }
  }

  private async saveText(draft: Draft): Promise<void> {
    try {
      const saved = await ask(
        api.PUT('/api/v1/campaigns/{campaign}/draft', { params: { path: { campaign: this.id } }, body: { rev: this.campaign?.draft_rev ?? 0, draft } }),
      );
      this.campaign = saved;
      this.base = draft;
    } catch (error) {
      if (!(error instanceof ApiProblem) || error.status !== 409) throw error;
      const current = error.body.current as { draft: Schemas['DraftView']; draft_rev: number; saved_at?: string } | undefined;
      if (!current) throw error;
      this.meet(this.base, differs(draft, this.base), full(current.draft), current.draft_rev, current.saved_at);
    }
  }

  /** Somebody else saved meanwhile: what only one of us changed is put together, what both changed is asked about. */
  private meet(base: Draft, changed: (keyof Draft)[], theirs: Draft, theirRev: number, savedAt: string | undefined) {
    const mine = this.draft;
    // A body is nothing without its format.
    const both = changed.filter((field) => theirs[field] !== base[field] && theirs[field] !== mine[field]);
    const bodies = (['body', 'format'] as const).some((field) => changed.includes(field)) && (['body', 'format'] as const).some((field) => theirs[field] !== base[field]);
    if (bodies && (theirs.body !== mine.body || theirs.format !== mine.format) && !both.includes('body')) both.push('body');
    if (both.length) {
      this.conflict = { theirs, theirRev, savedAt, fields: both, mine: changed };
      this.state = 'failed';
      this.keep();
      return;
    }
    const together = { ...theirs, ...Object.fromEntries(changed.map((field) => [field, mine[field]])) };
    if (this.campaign) this.campaign = { ...this.campaign, draft_rev: theirRev };
    this.base = theirs;
    if (theirs.body !== mine.body && !changed.includes('body')) this.placed += 1;
    this.draft = together;
    this.touched();
  }

  /** Name and recipients: only what was changed here is sent, so that what another changed beside it stays. */
  private async saveAbout(about: About): Promise<void> {
    const body: Schemas['CampaignPatch'] = { rev: this.campaign?.rev ?? 0 };
    if (about.name !== this.baseAbout.name) body.name = about.name;
    if (!alike(about.audience, this.baseAbout.audience)) body.audience = about.audience;
    const send = () => ask(api.PATCH('/api/v1/campaigns/{campaign}', { params: { path: { campaign: this.id } }, body }));
    let saved: Campaign;
    try {
      saved = await send();
    } catch (error) {
      if (!(error instanceof ApiProblem) || error.status !== 409) throw error;
      const fresh = await ask(api.GET('/api/v1/campaigns/{campaign}', { params: { path: { campaign: this.id } } }));
      if (fresh.state !== 'draft') {
        this.campaign = fresh;
        throw error;
      }
      body.rev = fresh.rev;
      saved = await send();
    }
    // The text has its own turn.
    this.campaign = { ...saved, draft: this.campaign?.draft ?? saved.draft, draft_rev: this.campaign?.draft_rev ?? saved.draft_rev };
    this.baseAbout = { name: about.name, audience: about.audience };
  }

  /** Copies into this browser what is not at the server. */
  keep() {
    clearTimeout(this.copyTimer);
    if (!this.dirty || !this.campaign) return;
    this.copiedAt = Date.now();
    const copy: Copy = { rev: this.campaign.draft_rev, draft: this.draft, about: this.about, base: this.base, at: Date.now() };
    try {
      localStorage.setItem(this.key, JSON.stringify(copy));
      this.uncopied = false;
    } catch {
      this.uncopied = true;
    }
  }

  /** Copies of this campaign in this browser, the newest first; those of this tab before others. */
  private copies(): Copy[] {
    const found: { mine: boolean; copy: Copy }[] = [];
    try {
      for (const key of Object.keys(localStorage).filter((name) => name.startsWith(this.prefix))) {
        const copy = JSON.parse(localStorage.getItem(key) ?? 'null') as Copy | null;
        if (copy) found.push({ mine: key === this.key, copy });
      }
    } catch {
      // Private windows keep nothing.
    }
    const old = Date.now() - YOUNG_MS;
    this.young = found.some(({ mine, copy }) => !mine && copy.at >= old);
    return found
      .filter(({ mine, copy }) => mine || copy.at < old)
      .sort((a, b) => Number(b.mine) - Number(a.mine) || b.copy.at - a.copy.at)
      .map(({ copy }) => copy);
  }

  /** Everything is at the server: copies of this text are not needed any more. */
  private forget() {
    clearTimeout(this.copyTimer);
    try {
      for (const key of Object.keys(localStorage).filter((name) => name.startsWith(this.prefix))) {
        const copy = JSON.parse(localStorage.getItem(key) ?? 'null') as Copy | null;
        // What another tab has not saved yet stays.
        if (key === this.key || !copy || !differs(full(copy.draft), this.base).length) localStorage.removeItem(key);
      }
    } catch {
      // As above.
    }
  }
}

/** What a failed save says. */
export const reason = (error: unknown) => words(error);
