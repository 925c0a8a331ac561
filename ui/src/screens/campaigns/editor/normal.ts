// What a document of somebody else may say: looks are known words, checked numbers and colours, words are text. Everything that
// comes to the canvas goes through here, because a value in a style may be further CSS, and a list that is none breaks the page.
// The server refuses the same values; what is not known here at all is kept as it is.

import type { Block, Column, Doc, Theme } from './document';
import { FIELDS, FRAME, LOOK, type Field } from './fields';

/** A colour as the server takes it, or nothing: any other value of a style may make the browser load something. */
export const paint = (value: unknown): string | null => (typeof value === 'string' && /^#([0-9a-f]{3}|[0-9a-f]{6})$/i.test(value) ? value : null);

/** A number that can be drawn: what is too small or too large becomes the nearest that the server takes. */
const within = (value: unknown, least: number, most: number): number | undefined =>
  typeof value === 'number' && Number.isFinite(value) ? Math.min(most, Math.max(least, value)) : undefined;

function fit(field: Field, value: unknown): unknown {
  switch (field.kind) {
    case 'choice': return field.choices.includes(value as string | number) ? value : undefined;
    case 'number': return within(value, field.least, field.most);
    case 'colour': return value === '' ? value : (paint(value) ?? undefined);
    case 'flag': return typeof value === 'boolean' ? value : undefined;
    case 'words': case 'address': case 'picture': case 'lines': case 'code': return typeof value === 'string' ? value : undefined;
  }
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);

/** The same object with fields that fit; the object itself when all of them do. */
function fitted<T extends object>(given: T, fields: readonly Field[]): T {
  let next = given as Record<string, unknown>;
  for (const field of fields) {
    if (!Object.hasOwn(given, field.name)) continue;
    const value = fit(field, next[field.name]);
    if (value === next[field.name]) continue;
    next = { ...next };
    if (value === undefined) delete next[field.name];
    else next[field.name] = value;
  }
  return next as T;
}

/** An object of words: whatever else is in it goes. */
const wordsOnly = (given: unknown): Record<string, unknown> | undefined =>
  isObject(given) ? Object.fromEntries(Object.entries(given).filter(([, value]) => typeof value === 'string')) : undefined;
const listOfWords = (given: unknown): Record<string, unknown>[] | undefined =>
  Array.isArray(given) ? given.filter(isObject).map((one) => wordsOnly(one)!) : undefined;

/** Parts of blocks that are more than a value, and what they have to be. */
const PARTS: Record<string, (given: unknown) => unknown> = {
  html: (given) => (typeof given === 'string' ? given : undefined),
  frame: (given) => (isObject(given) ? fitted(given, FRAME) : undefined),
  links: listOfWords,
  items: listOfWords,
  total: wordsOnly,
  when: wordsOnly,
};

function normalBlock(given: Block): Block {
  const fields = FIELDS[given.type];
  const block = { ...fitted(given, fields) };
  for (const [name, made] of Object.entries(PARTS)) {
    // `links` of a footer is a flag, and was looked at above.
    if (!Object.hasOwn(block, name) || fields.some((field) => field.name === name && field.kind === 'flag')) continue;
    const value = made(block[name]);
    if (value === undefined) delete block[name];
    else block[name] = value;
  }
  if (block.type === 'columns') {
    block.columns = (block.columns as Column[]).map(({ width, ...rest }) => {
      const share = within(width, 1, 100);
      return { ...(share === undefined ? {} : { width: share }), ...rest, blocks: rest.blocks.map(normalBlock) };
    });
  }
  if (block.type === 'conditional') {
    for (const part of ['blocks', 'otherwise'] as const) if (Array.isArray(block[part])) block[part] = (block[part] as Block[]).map(normalBlock);
  }
  return block;
}

/** The document with looks that are safe to draw. Its blocks have known types and their lists are lists: `parse` saw to that. */
export function normal(doc: Doc): Doc {
  return { ...doc, theme: isObject(doc.theme) ? fitted(doc.theme as Theme, LOOK) : {}, blocks: doc.blocks.map(normalBlock) };
}
