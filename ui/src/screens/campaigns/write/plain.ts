// A text as words, for looking at versions of it side by side.

import type { Schemas } from '../../../lib/api';
import { all, gist, parse } from '../editor/document';

/** The body without markup where that is easy, as it is otherwise. */
export function plain(draft: Schemas['DraftView'], most = 20_000): string {
  const body = draft.body ?? '';
  if ((draft.format as string | null) !== 'blocks') return body.slice(0, most);
  const doc = parse(body);
  if ('wrong' in doc) return body.slice(0, most);
  return all(doc).map(({ block, depth }) => `${'  '.repeat(depth - 1)}${gist(block, 2_000) || `[${block.type}]`}`).join('\n').slice(0, most);
}
