// What the block editor is doing: the document, what is chosen, what can be taken back. Knows no element of the page.

import { said, t } from '../../../lib/i18n.svelte';
import {
  Past, all, begin, duplicate, find, gist, insert, made, moveTo, parse, remove, serialize, setColumns, step, update,
  type Block, type BlockType, type Change, type Doc, type Place, type Theme,
} from './document';

import type { PictureWish } from './pictures';

/** Words of new blocks, in the language of the page. */
const fresh = (key: string) => said('editor.new', key);

export const nameOf = (type: BlockType) => said('editor.type', type);

export class Canvas {
  doc: Doc = $state.raw({ version: 1, theme: {}, blocks: [] });
  /** The text cannot be shown as blocks; why. */
  wrong: string | undefined = $state();
  /** The block with the focus, or the last one that had it. */
  chosen = $state('');
  /** The block whose settings are open. */
  open = $state('');
  /** What was just done, for those who do not see it. */
  told = $state('');
  /** Why the last thing could not be done. */
  refused = $state('');
  canUndo = $state(false);
  canRedo = $state(false);
  /** A picture is being chosen. */
  picture: PictureWish | undefined = $state.raw();
  dragged: string | undefined = $state();
  /** Where the dragged block would come to stand. */
  over: { place: Place; index: number } | undefined = $state.raw();
  /** Grows when the document was replaced by something older or newer: text editors read it anew. */
  turned = $state(0);

  private past = new Past();
  private body = '';

  constructor(private readonly changed: (body: string) => void) {}

  /** Takes a body that was written elsewhere; an empty one begins with a heading, a text and a footer. */
  read(body: string) {
    if (body === this.body && this.body !== '') return;
    this.body = body;
    const read = body.trim() ? parse(body) : begin(fresh);
    if ('wrong' in read) {
      this.wrong = read.wrong;
      return;
    }
    this.wrong = undefined;
    this.doc = read;
    this.past = new Past();
    this.look();
    this.turned += 1;
  }

  private look() {
    this.canUndo = this.past.canUndo;
    this.canRedo = this.past.canRedo;
  }

  private put(doc: Doc) {
    this.doc = doc;
    this.body = serialize(doc);
    this.look();
    this.changed(this.body);
  }

  /** Carries out a change, or says why not. `what` names the field in which somebody types. */
  private run(change: Change, what = '', told = ''): boolean {
    if ('refused' in change) {
      this.refused = t(`editor.not.${change.refused}`);
      return false;
    }
    this.refused = '';
    if (change.doc === this.doc) return false;
    this.past.note(serialize(this.doc), what);
    this.put(change.doc);
    if (told) this.told = told;
    return true;
  }

  /** Where something new goes without further saying: behind the chosen block, before the footer otherwise. */
  get next(): { place: Place; index: number } {
    const found = find(this.doc, this.chosen);
    if (found && found.block.type !== 'footer') return { place: found.place, index: found.index + 1 };
    const foot = this.doc.blocks.findIndex((block) => block.type === 'footer');
    return { place: { id: '', part: 'blocks' }, index: foot < 0 ? this.doc.blocks.length : foot };
  }

  add(type: BlockType, place = this.next.place, index = this.next.index) {
    const block = made(this.doc, type, fresh);
    if (this.run(insert(this.doc, place, index, block), '', t('editor.told.added', { block: nameOf(type) }))) {
      this.chosen = block.id;
      this.open = block.id;
    }
  }

  /** A file was dropped or pasted: into the image block `id`, or into a new one behind it. */
  takePicture(file: File, id: string) {
    const found = find(this.doc, id);
    const width = this.doc.theme.width ?? 600;
    if (found?.block.type === 'image') {
      const { block } = found;
      this.picture = { file, width, alt: typeof block.alt === 'string' ? block.alt : '', done: (p) => this.set(id, { src: p.address, alt: p.alt || undefined, width: block.width ?? p.width }) };
      return;
    }
    this.chosen = found ? id : this.chosen;
    const { place, index } = this.next;
    this.picture = {
      file,
      width,
      alt: '',
      done: (p) => {
        this.add('image', place, index);
        if (!this.refused) this.set(this.chosen, { src: p.address, alt: p.alt || undefined, width: p.width });
      },
    };
  }

  remove(id: string) {
    const block = find(this.doc, id)?.block;
    const change = remove(this.doc, id);
    if (block && this.run(change, '', t('editor.told.removed', { block: nameOf(block.type) })) && 'doc' in change) {
      this.chosen = change.id;
      if (this.open === id) this.open = '';
    }
  }

  duplicate(id: string) {
    const change = duplicate(this.doc, id);
    if (this.run(change, '', t('editor.told.doubled')) && 'doc' in change) this.chosen = change.id;
  }

  step(id: string, by: 1 | -1) {
    if (this.run(step(this.doc, id, by))) this.tellPlace(id);
    else if (!this.refused) this.told = t(by < 0 ? 'editor.told.first' : 'editor.told.last');
  }

  move(id: string, place: Place, index: number) {
    if (this.run(moveTo(this.doc, id, place, index))) this.tellPlace(id);
    this.chosen = id;
  }

  private tellPlace(id: string) {
    const list = all(this.doc);
    this.told = t('editor.told.moved', { n: list.findIndex((one) => one.block.id === id) + 1, of: list.length });
  }

  /** Changes fields; typing in the same field again and again is one step to take back. */
  set(id: string, fields: Record<string, unknown>) {
    this.run(update(this.doc, id, fields), `${id}.${Object.keys(fields).join('.')}`);
  }

  columns(id: string, wanted: 2 | 3) {
    this.run(setColumns(this.doc, id, wanted));
  }

  dress(theme: Theme) {
    this.run({ doc: { ...this.doc, theme: { ...this.doc.theme, ...theme } }, id: '' }, `theme.${Object.keys(theme).join('.')}`);
  }

  undo() {
    this.turn(this.past.undo(serialize(this.doc)), t('editor.told.undone'));
  }
  redo() {
    this.turn(this.past.redo(serialize(this.doc)), t('editor.told.redone'));
  }
  private turn(to: string | undefined, told: string) {
    const doc = to === undefined ? undefined : parse(to);
    if (!doc || 'wrong' in doc) return;
    this.refused = '';
    this.put(doc);
    this.turned += 1;
    this.told = told;
  }

  /** The name, the words and the place of a block, for screen readers. */
  label(block: Block, index: number, of: number): string {
    const words = gist(block, 40);
    return t('editor.block', { block: nameOf(block.type), n: index + 1, of }) + (words ? `: ${words}` : '');
  }
}
