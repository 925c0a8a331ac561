// How the columns of a file are used, as the wizard shows them and as the server wants it.

import { api, ask, type Schemas } from '../../lib/api';

export type Use = 'mailbox' | 'attribute' | 'language' | 'zone' | 'ignore';
export const USES: Use[] = ['mailbox', 'attribute', 'language', 'zone', 'ignore'];

export interface Column {
  number: number;
  heading: string;
  use: Use;
  attribute: string;
  /** How sure the server is; `yours` once a person chose. */
  sure: 'high' | 'medium' | 'low' | 'yours';
  examples: string[];
}

/** Where each column goes, from what the server saw. */
export function columnsOf(seen: Schemas['InspectView']): Column[] {
  const taken = new Set(seen.columns.map((c) => c.attribute));
  const free = (heading: string, number: number) => {
    const base = attributeName(heading, number);
    let name = base;
    for (let n = 2; taken.has(name); n += 1) name = `${base}_${n}`;
    taken.add(name);
    return name;
  };
  return seen.columns.map((c) => ({
    number: c.number,
    heading: c.heading,
    use: c.role === 'ignored' ? 'ignore' : c.role === 'mailbox' || c.role === 'language' || c.role === 'zone' ? c.role : 'attribute',
    attribute: c.attribute ?? free(c.heading, c.number),
    sure: c.role === 'unknown' ? 'low' : c.confidence === 'named' || c.confidence === 'heading' ? 'high' : c.confidence === 'content' ? 'medium' : 'low',
    examples: c.examples,
  }));
}

/** A heading as an attribute may be named, for columns of which the server says nothing. */
export function attributeName(heading: string, number: number): string {
  const plain = heading
    .normalize('NFD')
    .replace(/[\u0300-\u036f]/g, '')
    .toLowerCase()
    .replaceAll('ł', 'l')
    .replace(/[^a-z0-9]+/g, '_')
    .replace(/^[^a-z]+|_+$/g, '')
    .slice(0, 60);
  return plain || `column_${number}`;
}

/** What names the column to the server: its heading, or its number where the heading is not its alone. */
function nameOf(column: Column, all: Column[]): string {
  const same = all.filter((c) => c.heading.toLowerCase() === column.heading.toLowerCase());
  return column.heading && same.length === 1 ? column.heading : String(column.number);
}

/** The parameters of an import that says nothing: all is detected. */
export const PLAIN: Schemas['ImportParams'] = {
  mailbox: '',
  language: '',
  zone: '',
  attributes: {},
  ignore: [],
  charset: '',
  delimiter: '',
  lists: [],
  consent: { source: '', basis: null, given_at: null, purpose: null, wording: null },
};

/** The parameters that say how a file is read. */
export function readingOf(columns: Column[], charset: string, delimiter: string): Schemas['ImportParams'] {
  const named = (use: Use) => {
    const column = columns.find((c) => c.use === use);
    return column ? nameOf(column, columns) : '';
  };
  return {
    ...PLAIN,
    mailbox: named('mailbox'),
    language: named('language'),
    zone: named('zone'),
    attributes: Object.fromEntries(columns.filter((c) => c.use === 'attribute').map((c) => [nameOf(c, columns), c.attribute.trim()])),
    ignore: columns.filter((c) => c.use === 'ignore').map((c) => nameOf(c, columns)),
    charset,
    delimiter,
  };
}

export interface Fault {
  what: 'mailbox' | 'bad' | 'twice';
  name: string;
}

/** What must be put right before the file can be read so. */
export function faultOf(columns: Column[]): Fault | undefined {
  if (!columns.some((c) => c.use === 'mailbox')) return { what: 'mailbox', name: '' };
  const names = columns.filter((c) => c.use === 'attribute').map((c) => c.attribute.trim());
  const bad = names.find((name) => !/^[a-z][a-z0-9_]{0,63}$/.test(name));
  if (bad !== undefined) return { what: 'bad', name: bad };
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  return twice === undefined ? undefined : { what: 'twice', name: twice };
}

/** The server looks at so much of a file to tell how it would be read. */
const SAMPLE_BYTES = 512 * 1024;

/** How the server would read the file; with `whole`, what its rows would become. Nothing is stored. */
export function inspect(file: File, params: Schemas['ImportParams'], whole = false): Promise<Schemas['InspectView']> {
  const form = new FormData();
  form.append('params', JSON.stringify(params));
  form.append('file', whole ? file : file.slice(0, SAMPLE_BYTES), file.name);
  return ask(
    api.POST('/api/v1/imports/inspect', {
      params: { query: whole ? { whole: true } : {} },
      // The description says "a text"; a form is how it travels.
      body: form as unknown as { file: string },
      bodySerializer: () => form,
      headers: { 'Content-Type': null },
    }),
  );
}
