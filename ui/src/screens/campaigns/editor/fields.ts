// Which settings each block has, so that one inspector serves them all. What needs more than a line has its own part.

import type { BlockType } from './document';

export type Field =
  | { name: string; kind: 'words' | 'address' | 'picture' | 'colour' | 'flag'; otherwise?: boolean }
  | { name: string; kind: 'lines' | 'code'; rows: number }
  | { name: string; kind: 'choice'; choices: readonly (string | number)[]; otherwise: string | number }
  | { name: string; kind: 'number'; least: number; most: number; unit: 'px' | '%'; otherwise?: number };

const words = (name: string): Field => ({ name, kind: 'words' });
const lines = (name: string, rows = 2): Field => ({ name, kind: 'lines', rows });
const address = (name: string): Field => ({ name, kind: 'address' });
const picture = (name: string): Field => ({ name, kind: 'picture' });
const colour = (name: string): Field => ({ name, kind: 'colour' });
const flag = (name: string, otherwise = false): Field => ({ name, kind: 'flag', otherwise });
const choice = (name: string, choices: readonly (string | number)[], otherwise = choices[0]!): Field => ({ name, kind: 'choice', choices, otherwise });
const pixels = (name: string, least: number, most: number, otherwise?: number): Field => ({ name, kind: 'number', least, most, unit: 'px', otherwise });
const align = (otherwise: 'left' | 'center' = 'left') => choice('align', ['left', 'center', 'right'], otherwise);

export const FIELDS: Record<BlockType, Field[]> = {
  heading: [lines('text'), choice('level', [1, 2, 3]), align(), colour('color')],
  text: [align(), pixels('size', 10, 40), colour('color')],
  image: [picture('src'), words('alt'), address('href'), pixels('width', 16, 800), align('center'), flag('rounded')],
  button: [words('label'), address('href'), align('center'), flag('full_width'), colour('color'), colour('text_color')],
  divider: [colour('color'), pixels('thickness', 1, 12, 1), { name: 'width', kind: 'number', least: 10, most: 100, unit: '%', otherwise: 100 }, choice('line', ['solid', 'dashed', 'dotted'])],
  spacer: [pixels('height', 4, 200, 24)],
  columns: [choice('vertical_align', ['top', 'middle', 'bottom']), flag('keep_on_phone')],
  social: [align('center'), colour('color')],
  quote: [lines('text', 3), words('author'), colour('color')],
  products: [choice('layout', ['list', 'table']), words('link_label')],
  video: [address('href'), picture('image'), words('alt'), words('caption')],
  html: [{ name: 'html', kind: 'code', rows: 8 }],
  conditional: [],
  footer: [align('center'), flag('address', true), flag('links', true), words('unsubscribe_label'), words('preferences_label'), words('privacy_label')],
};

/** Background and spaces, of every block but the conditional. */
export const FRAME: Field[] = [colour('background'), pixels('padding_top', 0, 100), pixels('padding_bottom', 0, 100), pixels('padding_side', 0, 100)];

/** Fields that must be there even when they are empty. */
export const NEEDED: Partial<Record<BlockType, string[]>> = { heading: ['text'], text: ['html'], button: ['label'], quote: ['text'], html: ['html'], spacer: ['height'], video: ['href'] };

export const LOOK: Field[] = [
  { name: 'width', kind: 'number', least: 320, most: 800, unit: 'px', otherwise: 600 },
  { name: 'font_size', kind: 'number', least: 12, most: 24, unit: 'px', otherwise: 16 },
  { name: 'radius', kind: 'number', least: 0, most: 40, unit: 'px', otherwise: 6 },
  choice('font', ['arial', 'verdana', 'tahoma', 'trebuchet', 'georgia', 'times', 'courier', 'system']),
  choice('heading_font', ['arial', 'verdana', 'tahoma', 'trebuchet', 'georgia', 'times', 'courier', 'system']),
  colour('background'), colour('surface'), colour('text'), colour('muted'), colour('accent'), colour('on_accent'),
];

export const NETWORKS = ['website', 'bluesky', 'facebook', 'github', 'instagram', 'linkedin', 'mastodon', 'pinterest', 'telegram', 'threads', 'tiktok', 'whatsapp', 'x', 'xing', 'youtube'] as const;

/** What mail programs show for each font of the theme. */
export const STACKS: Record<string, string> = {
  arial: 'Arial, Helvetica, sans-serif',
  verdana: 'Verdana, Geneva, sans-serif',
  tahoma: 'Tahoma, Geneva, sans-serif',
  trebuchet: "'Trebuchet MS', Helvetica, sans-serif",
  georgia: 'Georgia, serif',
  times: "'Times New Roman', Times, serif",
  courier: "'Courier New', monospace",
  system: 'system-ui, sans-serif',
};
