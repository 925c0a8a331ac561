// Pictures of the workspace: how one is uploaded, and what comes of it in a block.

import { ApiProblem, api, ask, type Schemas } from '../../../lib/api';
import { t } from '../../../lib/i18n.svelte';

export type Picture = Schemas['PictureView'];

/** What a block gets to know of a chosen picture. */
export interface Placed {
  address: string;
  alt: string;
  /** When it is narrower than its place: not drawn larger than it is. */
  width?: number;
}

/** Somebody wants a picture: for a place so wide, perhaps from a file that was dropped or pasted. */
export interface PictureWish {
  width: number;
  alt: string;
  file?: File;
  done: (placed: Placed) => void;
}

const MOST = 10 * 1024 * 1024;
const KINDS = /^image\/(png|jpeg|gif|webp)$/;

/** The first picture among pasted or dropped files. */
export const pictureIn = (files: FileList | undefined): File | undefined => [...(files ?? [])].find((file) => file.type.startsWith('image/'));

export async function upload(file: File, width: number): Promise<Picture> {
  // What the server would refuse anyway is not sent there first.
  if (file.size > MOST) throw new ApiProblem(413, 'too_large', t('editor.picture.tooLarge'));
  if (file.type && !KINDS.test(file.type)) throw new ApiProblem(415, 'not_a_picture', t('editor.picture.format'));
  const name = Array.from(file.name, (sign) => (sign < ' ' || sign === '\u007f' ? ' ' : sign)).join('').slice(0, 200);
  return ask(
    api.POST('/api/v1/pictures', {
      params: { query: { width: Math.min(1200, Math.max(16, Math.round(width))), name } },
      headers: { 'content-type': 'application/octet-stream' },
      body: file as unknown as string,
      bodySerializer: (body) => body as unknown as Blob,
    }),
  );
}

/** As the block takes it: the sharp size where there is one. */
export function placed(picture: Picture, alt: string, width: number): Placed {
  const narrow = picture.plain.width < width - 48 && !picture.double;
  return { address: (picture.double ?? picture.plain).address, alt: alt.trim(), ...(narrow && picture.plain.width >= 16 ? { width: picture.plain.width } : {}) };
}

/** The path of a picture of ours, which may be shown on these pages; others are not loaded. */
export function ownPath(address: string): string | undefined {
  const path = /\/pictures\/[0-9a-f]{32}-[12]x\.[a-z]{3,4}$/.exec(address.trim())?.[0];
  return path;
}
