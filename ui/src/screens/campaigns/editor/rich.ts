// Text inside of a block: what tiptap knows is exactly what docs/blocks.md allows, so that nothing is lost when a text that
// came from a template or through the API is changed here.

import { LIMITS, size } from './document';
import { inert } from './inert';
import { Editor, Mark, Node, mergeAttributes, type AnyExtension } from '@tiptap/core';
import { Bold } from '@tiptap/extension-bold';
import { Document } from '@tiptap/extension-document';
import { HardBreak } from '@tiptap/extension-hard-break';
import { Italic } from '@tiptap/extension-italic';
import { Link } from '@tiptap/extension-link';
import { BulletList, ListItem, OrderedList } from '@tiptap/extension-list';
import { Paragraph } from '@tiptap/extension-paragraph';
import { Text } from '@tiptap/extension-text';
import { Placeholder, UndoRedo } from '@tiptap/extensions';

const mark = (name: string, tags: string[], tag = tags[0]!): AnyExtension =>
  Mark.create({
    name,
    parseHTML: () => tags.map((one) => ({ tag: one })),
    renderHTML: ({ HTMLAttributes }) => [tag, HTMLAttributes, 0],
  });

/** `style` as it was written: colours and alignment of texts that were made elsewhere. */
const styled = {
  addAttributes() {
    return {
      style: {
        default: null,
        parseHTML: (element: HTMLElement) => element.getAttribute('data-style'),
        // The page's policy allows no style attributes: here it is carried along under another name.
        renderHTML: (attributes: Record<string, unknown>) => (attributes.style ? { 'data-style': attributes.style } : {}),
      },
    };
  },
};

const Span = Mark.create({
  name: 'span',
  ...styled,
  parseHTML: () => [{ tag: 'span[data-style]' }],
  renderHTML: ({ HTMLAttributes }) => ['span', HTMLAttributes, 0],
});
const Heading = Node.create({
  name: 'heading',
  content: 'inline*',
  group: 'block',
  defining: true,
  addAttributes() {
    return { ...styled.addAttributes(), level: { default: 2, rendered: false } };
  },
  parseHTML: () => [2, 3, 4].map((level) => ({ tag: `h${level}`, attrs: { level } })),
  renderHTML: ({ node, HTMLAttributes }) => [`h${node.attrs.level}`, mergeAttributes(HTMLAttributes), 0],
});
const Quote = Node.create({
  name: 'blockquote',
  content: 'block+',
  group: 'block',
  defining: true,
  parseHTML: () => [{ tag: 'blockquote' }],
  renderHTML: ({ HTMLAttributes }) => ['blockquote', HTMLAttributes, 0],
});

const extensions = (placeholder: string): AnyExtension[] => [
  Document,
  Paragraph.extend(styled),
  Text,
  Bold,
  Italic,
  mark('underline', ['u']),
  mark('strike', ['s']),
  mark('code', ['code']),
  mark('subscript', ['sub']),
  mark('superscript', ['sup']),
  Span,
  Heading,
  Quote,
  Link.configure({
    openOnClick: false,
    autolink: true,
    linkOnPaste: true,
    HTMLAttributes: { target: null, rel: null, class: null },
    // A variable may be an address.
    isAllowedUri: (url, { defaultValidate }) => /^\s*\{\{/.test(url ?? '') || /^(https?|mailto|tel):/i.test(url ?? '') || (!/^[a-z][\w+.-]*:/i.test(url ?? '') && defaultValidate(url ?? '')),
  }).extend({
    addAttributes() {
      return { href: { default: null }, title: { default: null } };
    },
  }),
  BulletList,
  OrderedList,
  ListItem.extend(styled),
  HardBreak,
  UndoRedo,
  Placeholder.configure({ placeholder }),
];

/** The HTML of the server from the HTML of the editor; `inert` is the other way. */
const outward = (html: string) => html.replace(/ data-style="/g, ' style="');

/** Whether the editor would give this HTML back with everything in it. */
export function keeps(editor: Editor, html: string): boolean {
  return essence(outward(editor.getHTML())) === essence(html);
}

/** Words, elements and attributes, without what means the same. */
function essence(html: string): string {
  const root = new DOMParser().parseFromString(inert(html), 'text/html').body;
  const out: string[] = [];
  const walk = (node: globalThis.Node) => {
    if (node.nodeType === 3) {
      const text = node.textContent?.replace(/\s+/g, ' ') ?? '';
      if (text.trim()) out.push(text.trim());
      return;
    }
    if (!(node instanceof Element)) return;
    const name = ({ b: 'strong', i: 'em' } as Record<string, string>)[node.localName] ?? node.localName;
    // Paragraphs come and go around text in list items and at the top.
    const plain = name === 'p' && !node.attributes.length;
    const attributes = [...node.attributes].map((a) => `${a.name}=${a.value}`).sort();
    if (!plain) out.push(`<${name} ${attributes.join(' ')}>`);
    for (const child of node.childNodes) walk(child);
    if (!plain && name !== 'br') out.push(`</${name}>`);
  };
  for (const child of root.childNodes) walk(child);
  return out.join(' ').replace(/\s+/g, ' ');
}

/** Elements that may be shown on the canvas as they are. */
const SHOWN = new Set(['p', 'br', 'strong', 'b', 'em', 'i', 'u', 's', 'sub', 'sup', 'ul', 'ol', 'li', 'span', 'h2', 'h3', 'h4', 'blockquote', 'code']);

/** Rich text as elements without attributes, for the canvas; links look like links and lead nowhere. */
export function show(html: string): DocumentFragment {
  const root = new DOMParser().parseFromString(inert(html.slice(0, 2 * LIMITS.rich)), 'text/html').body;
  const copy = (from: globalThis.Node, to: globalThis.Node) => {
    for (const child of from.childNodes) {
      if (child.nodeType === 3) to.appendChild(document.createTextNode(child.textContent ?? ''));
      else if (child instanceof Element) {
        const name = child.localName;
        // Headings of the message are not headings of this page.
        const shown = document.createElement(name === 'a' ? 'u' : /^h[234]$/.test(name) || !SHOWN.has(name) ? (name.startsWith('h') ? 'p' : 'span') : name);
        if (name === 'a') shown.className = 'link';
        if (/^h[234]$/.test(name)) shown.className = 'heading';
        copy(child, shown);
        to.appendChild(shown);
      }
    }
  };
  const fragment = document.createDocumentFragment();
  copy(root, fragment);
  return fragment;
}

export interface Given {
  element: HTMLElement;
  html: string;
  placeholder: string;
  label: string;
  /** Gets the server's HTML. */
  changed: (html: string) => void;
  /** The caret moved or the text changed. */
  moved: (editor: Editor) => void;
  /** Whether somebody else took the key. */
  key: (event: KeyboardEvent) => boolean;
  /** So many signs were pasted that they were refused. */
  tooLong: (length: number) => void;
}

/** An editor in an element. `changed` gets the server's HTML. */
export function create(given: Given): Editor {
  const { element, html, changed, moved } = given;
  /** Refuses what is far too long before anything looks at it; true when the editor has nothing more to do with it. */
  const brought = (view: Editor['view'], event: Event, data: DataTransfer | null): boolean => {
    const plain = data?.getData('text/plain') ?? '';
    const rich = data?.getData('text/html') ?? '';
    if (plain.length > LIMITS.rich || size(view.dom.innerHTML) + plain.length > LIMITS.rich) {
      event.preventDefault();
      given.tooLong(plain.length);
      return true;
    }
    // Markup of word processors is many times its words; the words alone are kept then.
    if (rich.length > 1_000_000) {
      event.preventDefault();
      view.pasteText(plain);
      return true;
    }
    return false;
  };
  return new Editor({
    element,
    extensions: extensions(given.placeholder),
    content: inert(html),
    // Its style sheet would be an inline one, which the page's policy refuses.
    injectCSS: false,
    editorProps: {
      attributes: { 'aria-label': given.label, role: 'textbox', 'aria-multiline': 'true' },
      // Pasted markup is no more to be trusted than a draft; the looks of other programs stay there.
      transformPastedHTML: (pasted) => inert(pasted, 'data-not-style'),
      handleKeyDown: (_, event) => given.key(event),
      // `handlePaste` would be too late: the editor has parsed everything by then, and ten megabytes freeze the tab.
      handleDOMEvents: {
        paste: (view, event) => brought(view, event, event.clipboardData),
        drop: (view, event) => brought(view, event, event.dataTransfer),
      },
    },
    onUpdate: ({ editor }) => {
      changed(editor.isEmpty ? '' : outward(editor.getHTML()));
      moved(editor);
    },
    onSelectionUpdate: ({ editor }) => moved(editor),
  });
}
