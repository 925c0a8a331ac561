// The block document of docs/blocks.md and everything that can be done to it. Plain data in, plain data out: no Svelte, no
// DOM, so that `npm test` runs it. Every change gives a new document and shares what did not change.

import { normal, paint } from './normal';

export { paint };

export type BlockType =
  | 'heading' | 'text' | 'image' | 'button' | 'divider' | 'spacer' | 'columns'
  | 'social' | 'quote' | 'products' | 'video' | 'html' | 'conditional' | 'footer';

/** A block: its type says which other fields it has; what is unknown here is kept as it is. */
export interface Block {
  id: string;
  type: BlockType;
  [field: string]: unknown;
}
export interface Column {
  width?: number;
  blocks: Block[];
}
export interface Theme {
  width?: number;
  background?: string;
  surface?: string;
  text?: string;
  muted?: string;
  accent?: string;
  on_accent?: string;
  font?: string;
  heading_font?: string;
  font_size?: number;
  radius?: number;
}
export interface Doc {
  version: 1;
  theme: Theme;
  blocks: Block[];
}

/** Where a list of blocks is: the document's own (`id` empty), a column's, or one of a conditional's two. */
export interface Place {
  /** The block that holds the list; empty for the document. */
  id: string;
  /** `blocks`, `otherwise`, or the number of a column. */
  part: 'blocks' | 'otherwise' | number;
}

/** Why something cannot be done; the words are the catalogue's `editor.not.*`. */
export type Refusal = 'tooMany' | 'tooDeep' | 'twoFooters' | 'footerInside' | 'columnsInside' | 'tooLarge' | 'intoItself';

export const LIMITS = { bytes: 512 * 1024, blocks: 200, depth: 4, rich: 64 * 1024, words: 2_000, html: 128 * 1024, links: 12, items: 50 } as const;

export const TYPES: BlockType[] = [
  'heading', 'text', 'image', 'button', 'divider', 'spacer', 'columns',
  'social', 'quote', 'products', 'video', 'html', 'conditional', 'footer',
];

export const THEME: Required<Theme> = {
  width: 600, background: '#f3f4f6', surface: '#ffffff', text: '#1f2937', muted: '#565f6c', accent: '#1d4ed8',
  on_accent: '#ffffff', font: 'arial', heading_font: 'arial', font_size: 16, radius: 6,
};

/** The look of a document with what it does not say, or does not say well. */
export function dressed(theme: Theme | undefined): Required<Theme> {
  const whole = { ...THEME, ...theme };
  for (const name of ['background', 'surface', 'text', 'muted', 'accent', 'on_accent'] as const) whole[name] = paint(whole[name]) ?? THEME[name];
  return whole;
}

const TOP: Place = { id: '', part: 'blocks' };

/** How many bytes a text takes at the server. */
export function size(text: string): number {
  // A quick answer for what is far too large: encoding 10 MB at each key would be felt.
  return text.length > 2 * LIMITS.bytes ? text.length : new TextEncoder().encode(text).length;
}

/** The lists of blocks inside of a block, with their places. */
export function inner(block: Block): { place: Place; blocks: Block[] }[] {
  if (block.type === 'columns') {
    return ((block.columns as Column[] | undefined) ?? []).map((column, part) => ({ place: { id: block.id, part }, blocks: column.blocks ?? [] }));
  }
  if (block.type === 'conditional') {
    return [
      { place: { id: block.id, part: 'blocks' }, blocks: (block.blocks as Block[] | undefined) ?? [] },
      { place: { id: block.id, part: 'otherwise' }, blocks: (block.otherwise as Block[] | undefined) ?? [] },
    ];
  }
  return [];
}

export interface Found {
  block: Block;
  place: Place;
  index: number;
  /** 1 at the top. */
  depth: number;
  /** The blocks that hold it, outermost first. */
  within: Block[];
}

/** Every block with its place, in the order in which they are read. */
export function all(doc: Doc): Found[] {
  const found: Found[] = [];
  const walk = (blocks: Block[], place: Place, within: Block[]) => {
    for (const [index, block] of blocks.entries()) {
      found.push({ block, place, index, depth: within.length + 1, within });
      for (const list of inner(block)) walk(list.blocks, list.place, [...within, block]);
    }
  };
  walk(doc.blocks, TOP, []);
  return found;
}

export const find = (doc: Doc, id: string): Found | undefined => all(doc).find((one) => one.block.id === id);

/** The blocks at a place. */
export function at(doc: Doc, place: Place): Block[] {
  if (!place.id) return doc.blocks;
  const holder = find(doc, place.id)?.block;
  return (holder && inner(holder).find((list) => list.place.part === place.part)?.blocks) ?? [];
}

/** How many blocks a block is, itself and all inside. */
export const count = (block: Block): number => 1 + inner(block).flatMap((list) => list.blocks).reduce((sum, one) => sum + count(one), 0);
/** How many levels a block has: 1 without anything inside. */
const levels = (block: Block): number => 1 + Math.max(0, ...inner(block).flatMap((list) => list.blocks).map(levels));
const holds = (block: Block, test: (one: Block) => boolean): boolean => test(block) || inner(block).some((list) => list.blocks.some((one) => holds(one, test)));

function withList(block: Block, part: Place['part'], blocks: Block[]): Block {
  if (typeof part === 'number') {
    return { ...block, columns: (block.columns as Column[]).map((column, i) => (i === part ? { ...column, blocks } : column)) };
  }
  return { ...block, [part]: blocks };
}

/** Gives each list of blocks to `change`; lists that come back as they were keep their block as it was. */
function mapLists(doc: Doc, change: (blocks: Block[], place: Place) => Block[]): Doc {
  const deep = (block: Block): Block => {
    let next = block;
    for (const list of inner(block)) {
      const changed = lists(list.blocks, list.place);
      if (changed !== list.blocks) next = withList(next, list.place.part, changed);
    }
    return next;
  };
  const lists = (blocks: Block[], place: Place): Block[] => {
    const mine = change(blocks, place);
    const inside = mine.map(deep);
    return inside.some((block, i) => block !== mine[i]) ? inside : mine;
  };
  const blocks = lists(doc.blocks, TOP);
  return blocks === doc.blocks ? doc : { ...doc, blocks };
}

const same = (a: Place, b: Place) => a.id === b.id && a.part === b.part;

/** An id that the document does not have. */
export function freshId(taken: Set<string>): string {
  for (;;) {
    const id = `b${Math.random().toString(36).slice(2, 9)}`;
    if (!taken.has(id)) {
      taken.add(id);
      return id;
    }
  }
}
const ids = (doc: Doc) => new Set(all(doc).map((one) => one.block.id));

/** The same block with new ids, itself and all inside. */
function renamed(block: Block, taken: Set<string>): Block {
  let next: Block = { ...block, id: freshId(taken) };
  for (const list of inner(block)) next = withList(next, list.place.part, list.blocks.map((one) => renamed(one, taken)));
  // `otherwise` that was not there stays away.
  if (block.type === 'conditional' && block.otherwise === undefined) delete next.otherwise;
  return next;
}

/** Why this block may not stand at this place, or nothing. `leaving` is a block that goes at the same time. */
export function refusal(doc: Doc, place: Place, block: Block, leaving?: string): Refusal | undefined {
  const others = all(doc);
  const moved = leaving ? others.find((one) => one.block.id === leaving) : undefined;
  const holder = place.id ? others.find((one) => one.block.id === place.id) : undefined;
  const around = holder ? [...holder.within, holder.block] : [];
  if (leaving && around.some((one) => one.id === leaving)) return 'intoItself';
  if (others.length - (moved ? count(moved.block) : 0) + count(block) > LIMITS.blocks) return 'tooMany';
  if (around.length + levels(block) > LIMITS.depth) return 'tooDeep';
  if (around.length && holds(block, (one) => one.type === 'footer')) return 'footerInside';
  if (block.type === 'footer' && others.some((one) => one.block.type === 'footer' && one.block.id !== leaving)) return 'twoFooters';
  if (around.some((one) => one.type === 'columns') && holds(block, (one) => one.type === 'columns')) return 'columnsInside';
  return undefined;
}

export type Change = { doc: Doc; id: string } | { refused: Refusal };

/** Puts a block at a place, before the one that is there. */
export function insert(doc: Doc, place: Place, index: number, block: Block): Change {
  const refused = refusal(doc, place, block);
  if (refused) return { refused };
  const next = mapLists(doc, (blocks, here) => (same(here, place) ? [...blocks.slice(0, index), block, ...blocks.slice(index)] : blocks));
  return { doc: next, id: block.id };
}

/** Takes a block away; `id` is the one that then stands nearest. */
export function remove(doc: Doc, id: string): Change {
  const found = find(doc, id);
  const next = mapLists(doc, (blocks) => (blocks.some((one) => one.id === id) ? blocks.filter((one) => one.id !== id) : blocks));
  const left = found ? at(next, found.place) : [];
  return { doc: next, id: left[Math.min(found?.index ?? 0, left.length - 1)]?.id ?? found?.place.id ?? '' };
}

/** Moves a block to a place, before the one that is there now. */
export function moveTo(doc: Doc, id: string, place: Place, index: number): Change {
  const found = find(doc, id);
  if (!found) return { doc, id };
  const refused = refusal(doc, place, found.block, id);
  if (refused) return { refused };
  const within = same(found.place, place);
  if (within && (index === found.index || index === found.index + 1)) return { doc, id };
  const target = within && found.index < index ? index - 1 : index;
  const without = mapLists(doc, (blocks) => (blocks.some((one) => one.id === id) ? blocks.filter((one) => one.id !== id) : blocks));
  const next = mapLists(without, (blocks, here) => (same(here, place) ? [...blocks.slice(0, target), found.block, ...blocks.slice(target)] : blocks));
  return { doc: next, id };
}

/**
 * One step up or down, into and out of what holds blocks: at the end of a column one comes to the next, then behind the
 * columns; beside a block that holds others one goes on past it, never into it by accident.
 */
export function step(doc: Doc, id: string, by: 1 | -1): Change {
  const found = find(doc, id);
  if (!found) return { doc, id };
  const siblings = at(doc, found.place);
  const wanted = found.index + by;
  if (wanted >= 0 && wanted < siblings.length) return moveTo(doc, id, found.place, by > 0 ? found.index + 2 : found.index - 1);
  const holder = found.within.at(-1);
  if (!holder) return { doc, id };
  const lists = inner(holder);
  const mine = lists.findIndex((list) => same(list.place, found.place));
  const next = lists[mine + by];
  if (next) return moveTo(doc, id, next.place, by > 0 ? 0 : next.blocks.length);
  const around = find(doc, holder.id);
  return around ? moveTo(doc, id, around.place, by > 0 ? around.index + 1 : around.index) : { doc, id };
}

/** The same once more, right behind. */
export function duplicate(doc: Doc, id: string): Change {
  const found = find(doc, id);
  if (!found) return { doc, id };
  return insert(doc, found.place, found.index + 1, renamed(found.block, ids(doc)));
}

/** Changes fields of a block; `undefined` takes a field away. */
export function update(doc: Doc, id: string, fields: Record<string, unknown>): Change {
  const next = mapLists(doc, (blocks) => {
    const i = blocks.findIndex((one) => one.id === id);
    const before = blocks[i];
    if (!before) return blocks;
    const block: Block = { ...before };
    for (const [name, value] of Object.entries(fields)) {
      if (value === undefined) delete block[name];
      else block[name] = value;
    }
    return blocks.with(i, block);
  });
  if (next !== doc && size(serialize(next)) > LIMITS.bytes) return { refused: 'tooLarge' };
  return { doc: next, id };
}

/** Two columns become three and the other way; what was in the third goes to the end of the second. */
export function setColumns(doc: Doc, id: string, wanted: 2 | 3): Change {
  const block = find(doc, id)?.block;
  const columns = (block?.columns as Column[] | undefined) ?? [];
  if (!block || columns.length === wanted) return { doc, id };
  const bare = columns.map(({ blocks }) => ({ blocks }));
  const next = wanted === 3 ? [...bare, { blocks: [] }] : [bare[0]!, { blocks: [...bare[1]!.blocks, ...(bare[2]?.blocks ?? [])] }];
  return update(doc, id, { columns: next });
}

/** A new block of a type. `words` are texts in the language of the person who writes. */
export function make(type: BlockType, taken: Set<string>, words: (key: string) => string = (key) => key): Block {
  const block = (fields: Record<string, unknown>): Block => ({ id: freshId(taken), type, ...fields });
  switch (type) {
    case 'heading': return block({ text: words('heading'), level: 1 });
    case 'text': return block({ html: '' });
    case 'image': return block({ src: '', alt: '', align: 'center' });
    case 'button': return block({ label: words('button'), href: '', align: 'center' });
    case 'divider': return block({});
    case 'spacer': return block({ height: 24 });
    case 'columns': return block({ columns: [{ blocks: [make('text', taken, words)] }, { blocks: [make('text', taken, words)] }] });
    case 'social': return block({ links: [{ network: 'website', href: '' }] });
    case 'quote': return block({ text: words('quote') });
    case 'products': return block({ layout: 'list', items: [{ name: words('product') }] });
    case 'video': return block({ href: '', image: '', alt: '' });
    case 'html': return block({ html: '' });
    case 'conditional': return block({ when: { variable: 'first_name', is: 'set' }, blocks: [make('text', taken, words)] });
    case 'footer': return block({ html: words('footer'), address: true, links: true });
  }
}

/** A new block with an id that this document does not have. */
export const made = (doc: Doc, type: BlockType, words?: (key: string) => string) => make(type, ids(doc), words);

/** What a new campaign begins with. */
export function begin(words?: (key: string) => string): Doc {
  const taken = new Set<string>();
  return { version: 1, theme: {}, blocks: [make('heading', taken, words), make('text', taken, words), make('footer', taken, words)] };
}

/** Reads what the server keeps, with looks that are safe to draw; the words say what is wrong with it. */
export function parse(body: string): Doc | { wrong: string } {
  if (!body.trim()) return { version: 1, theme: {}, blocks: [] };
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch (error) {
    return { wrong: error instanceof Error ? error.message : String(error) };
  }
  const doc = value as Partial<Doc> | null;
  if (typeof doc !== 'object' || doc === null || !Array.isArray(doc.blocks)) return { wrong: '"blocks" is missing' };
  if (doc.version !== 1) return { wrong: `version ${String(doc.version)} is not known here` };
  const broken = unknownIn(doc.blocks);
  if (broken) return { wrong: broken };
  return normal({ ...doc, version: 1, theme: doc.theme ?? {}, blocks: doc.blocks });
}

function unknownIn(blocks: unknown[]): string | undefined {
  for (const value of blocks) {
    const block = value as Block | null;
    if (typeof block !== 'object' || block === null || typeof block.id !== 'string') return 'a block has no id';
    if (!TYPES.includes(block.type)) return `block type "${String(block.type)}" is not known here`;
    if (block.type === 'columns' && !(Array.isArray(block.columns) && block.columns.every((one: unknown) => Array.isArray((one as Column | null)?.blocks)))) return `block ${block.id} has no columns`;
    for (const list of inner(block)) {
      if (!Array.isArray(list.blocks)) return `block ${block.id} has no blocks`;
      const wrong = unknownIn(list.blocks);
      if (wrong) return wrong;
    }
  }
  return undefined;
}

/** As the server keeps it. */
export const serialize = (doc: Doc): string => JSON.stringify(doc);

/** The words of a block in one line, for lists and screen readers. */
export function gist(block: Block, most = 60): string {
  const of = (value: unknown) => (typeof value === 'string' ? value : '');
  const items = (block.items as { name?: string }[] | undefined)?.map((item) => of(item.name)).join(', ');
  const text = of(block.text) || of(block.label) || of(block.html) || of(block.alt) || of(block.caption) || of(block.src) || items || '';
  const bare = text.slice(0, 2_000).replace(/<[^>]*>/g, ' ').replace(/&nbsp;/g, ' ').replace(/&lt;/g, '<').replace(/&gt;/g, '>').replace(/&amp;/g, '&').replace(/\s+/g, ' ').trim();
  return bare.length > most ? `${bare.slice(0, most - 1)}…` : bare;
}

/** What was before and after, so that every change can be taken back. Typing in one field is one change. */
export class Past {
  private before: string[] = [];
  private after: string[] = [];
  private last = { what: '', at: 0 };

  constructor(private readonly most = 200, private readonly together = 1_200) {}

  get canUndo() {
    return this.before.length > 0;
  }
  get canRedo() {
    return this.after.length > 0;
  }

  /** Remembers `present`, from which is about to be gone on. `what` names a field in which typing goes on. */
  note(present: string, what = '', now = Date.now()) {
    const goesOn = what !== '' && what === this.last.what && now - this.last.at < this.together;
    this.last = { what, at: now };
    this.after = [];
    if (goesOn && this.before.length) return;
    this.before.push(present);
    // 200 documents of the greatest size would be 100 MB.
    let bytes = this.before.reduce((sum, text) => sum + text.length, 0);
    while (this.before.length > this.most || (bytes > 20_000_000 && this.before.length > 1)) bytes -= this.before.shift()?.length ?? 0;
  }

  undo(present: string): string | undefined {
    const to = this.before.pop();
    if (to !== undefined) this.after.push(present);
    this.last = { what: '', at: 0 };
    return to;
  }

  redo(present: string): string | undefined {
    const to = this.after.pop();
    if (to !== undefined) this.before.push(present);
    this.last = { what: '', at: 0 };
    return to;
  }
}
