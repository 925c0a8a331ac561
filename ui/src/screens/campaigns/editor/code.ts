// CodeMirror for HTML, MJML and Markdown, loaded when somebody opens a code mode. It lives in a shadow root: there its styles
// are constructed sheets, which the page's policy allows, and its colours are those of the page's tokens.

import { autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap, startCompletion, type Completion, type CompletionContext, type CompletionResult } from '@codemirror/autocomplete';
import { defaultKeymap, history, historyKeymap, indentWithTab } from '@codemirror/commands';
import { html, htmlCompletionSource } from '@codemirror/lang-html';
import { markdown } from '@codemirror/lang-markdown';
import { HighlightStyle, bracketMatching, indentOnInput, syntaxHighlighting } from '@codemirror/language';
import { lintGutter, setDiagnostics } from '@codemirror/lint';
import { Compartment, EditorState, Transaction } from '@codemirror/state';
import { EditorView, drawSelection, highlightActiveLine, keymap, lineNumbers } from '@codemirror/view';
import { tags } from '@lezer/highlight';
import type { Variable } from './variables.svelte';

export type Language = 'html' | 'mjml' | 'markdown' | 'text';

export interface Mark {
  line: number;
  column: number;
  message: string;
  severity: 'error' | 'warning';
}

export interface Given {
  host: HTMLElement;
  text: string;
  language: Language;
  label: string;
  /** Most signs that it takes. */
  most: number;
  variables: (typed: string) => Variable[];
  written: (variable: Variable) => string;
  changed: (text: string) => void;
  tooLong: (length: number) => void;
}

export interface Code {
  replace(text: string): void;
  mark(marks: Mark[]): void;
  insert(text: string): void;
  go(line: number, column: number): void;
  end(): void;
}

// Contrast of each at least 4.5:1 on the sheet, in both appearances.
const colours = HighlightStyle.define([
  { tag: [tags.tagName, tags.heading], color: 'light-dark(#0b5f5f, #5fd6ca)', fontWeight: '600' },
  { tag: [tags.attributeName, tags.propertyName], color: 'light-dark(#7a4a00, #f0b95a)' },
  { tag: [tags.attributeValue, tags.string, tags.link, tags.url], color: 'light-dark(#1d5fa8, #8fc1fa)' },
  { tag: [tags.comment, tags.meta, tags.processingInstruction], color: 'light-dark(#55615c, #a2b0ab)' },
  { tag: [tags.keyword, tags.number, tags.bool], color: 'light-dark(#8b2273, #f0a3dc)' },
  { tag: tags.strong, fontWeight: '700' },
  { tag: tags.emphasis, fontStyle: 'italic' },
]);
const theme = EditorView.theme({
  '&': { color: 'var(--text)', backgroundColor: 'var(--sheet)', fontSize: '14px', border: '1px solid var(--control)', borderRadius: '0.45rem', minHeight: '24rem', maxHeight: '75vh' },
  '&.cm-focused': { outline: '3px solid var(--accent)', outlineOffset: '1px' },
  '.cm-scroller': { fontFamily: 'ui-monospace, monospace', lineHeight: '1.55', overflow: 'auto' },
  '.cm-content': { caretColor: 'var(--text)' },
  '.cm-cursor': { borderLeftColor: 'var(--text)' },
  '.cm-gutters': { backgroundColor: 'var(--ground)', color: 'var(--muted)', border: 'none', borderRight: '1px solid var(--line)' },
  '.cm-activeLine, .cm-activeLineGutter': { backgroundColor: 'color-mix(in srgb, var(--accent) 7%, transparent)' },
  '&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground': { backgroundColor: 'color-mix(in srgb, var(--accent) 28%, transparent)' },
  '.cm-matchingBracket': { backgroundColor: 'color-mix(in srgb, var(--accent) 20%, transparent)' },
  '.cm-tooltip': { backgroundColor: 'var(--raised)', color: 'var(--text)', border: '1px solid var(--line)', borderRadius: '0.4rem' },
  '.cm-tooltip.cm-tooltip-autocomplete > ul > li[aria-selected]': { backgroundColor: 'var(--accent)', color: 'var(--on-accent)' },
  '.cm-completionDetail': { color: 'inherit', fontStyle: 'normal', opacity: '0.85' },
});

/** The elements of MJML and the attributes that are wanted most. */
const MJML: Record<string, string[]> = {
  mjml: [], 'mj-head': [], 'mj-attributes': [], 'mj-all': ['font-family'], 'mj-class': ['name'], 'mj-style': ['inline'], 'mj-title': [], 'mj-preview': [], 'mj-font': ['name', 'href'],
  'mj-body': ['width', 'background-color'],
  'mj-section': ['background-color', 'background-url', 'padding', 'direction', 'full-width', 'border-radius', 'text-align'],
  'mj-group': ['width'], 'mj-wrapper': ['background-color', 'padding', 'border-radius'],
  'mj-column': ['width', 'background-color', 'padding', 'vertical-align', 'border-radius'],
  'mj-text': ['align', 'color', 'font-family', 'font-size', 'line-height', 'padding'],
  'mj-button': ['href', 'align', 'background-color', 'color', 'border-radius', 'font-size', 'inner-padding', 'padding', 'width'],
  'mj-image': ['src', 'alt', 'href', 'width', 'align', 'border-radius', 'padding'],
  'mj-divider': ['border-color', 'border-width', 'border-style', 'width', 'padding'],
  'mj-spacer': ['height'], 'mj-table': ['cellpadding', 'width', 'color', 'font-size'], 'mj-raw': [],
  'mj-social': ['mode', 'align', 'font-size', 'icon-size'], 'mj-social-element': ['name', 'href', 'src', 'alt'],
  'mj-hero': ['mode', 'background-url', 'background-color', 'height', 'width', 'padding'],
  'mj-accordion': ['border'], 'mj-accordion-element': [], 'mj-accordion-title': ['color'], 'mj-accordion-text': ['color'],
  'mj-carousel': ['border-radius'], 'mj-carousel-image': ['src', 'alt', 'href'], 'mj-navbar': ['align'], 'mj-navbar-link': ['href', 'color'],
};

function mjmlTags(context: CompletionContext): CompletionResult | null {
  const tag = context.matchBefore(/<\/?[\w-]*$/);
  if (tag) {
    const closing = tag.text.startsWith('</');
    return {
      from: tag.from + (closing ? 2 : 1),
      options: Object.keys(MJML).map((name): Completion => ({ label: name, type: 'type', apply: closing ? `${name}>` : name })),
      validFor: /^[\w-]*$/,
    };
  }
  const attribute = context.matchBefore(/<([\w-]+)(\s+[\w-]+="[^"]*")*\s+[\w-]*$/);
  const name = attribute && /^<([\w-]+)/.exec(attribute.text)?.[1];
  const typed = context.matchBefore(/[\w-]*$/);
  if (!name || !typed || !MJML[name]) return null;
  return { from: typed.from, options: MJML[name].map((one) => ({ label: one, type: 'property', apply: `${one}=""` })), validFor: /^[\w-]*$/ };
}

/** Elements of HTML, but not inside of a variable. */
const htmlTags = (context: CompletionContext) => (context.matchBefore(/\{\{[^}]*$/) ? null : htmlCompletionSource(context));

/** Makes an editor in `host`. */
export function create(given: Given): Code {
  const root = given.host.shadowRoot ?? given.host.attachShadow({ mode: 'open' });
  root.replaceChildren();
  const names = (context: CompletionContext): CompletionResult | null => {
    const typed = context.matchBefore(/\{\{\s*[\w.]*$/);
    if (!typed) return null;
    return {
      from: typed.from,
      filter: false,
      options: given.variables(/[\w.]*$/.exec(typed.text)?.[0] ?? '').map((one) => ({
        label: one.name,
        detail: one.about,
        type: 'variable',
        apply(view: EditorView, _: Completion, from: number, to: number) {
          const behind = /^\s*\}\}/.exec(view.state.sliceDoc(to, to + 20))?.[0].length ?? 0;
          const text = given.written(one);
          view.dispatch({ changes: { from, to: to + behind, insert: text }, selection: { anchor: from + text.length }, userEvent: 'input.complete' });
        },
      })),
    };
  };
  const sources = given.language === 'mjml' ? [names, mjmlTags] : given.language === 'html' ? [names, htmlTags] : [names];
  const language = given.language === 'markdown' ? markdown({ completeHTMLTags: false }) : given.language === 'text' ? [] : html({ selfClosingTags: given.language === 'mjml', matchClosingTags: true });
  // Text that is put in place from outside is no change by the person who writes.
  let quiet = false;
  const lint = new Compartment();

  const view = new EditorView({
    root,
    parent: root,
    state: EditorState.create({
      doc: given.text,
      extensions: [
        lineNumbers(),
        lint.of(lintGutter()),
        history(),
        drawSelection(),
        indentOnInput(),
        bracketMatching(),
        closeBrackets(),
        highlightActiveLine(),
        EditorView.lineWrapping,
        language,
        syntaxHighlighting(colours),
        theme,
        autocompletion({ override: sources, activateOnTyping: true }),
        // Tab leaves the editor unless something is selected: nobody is trapped (WCAG 2.1.2).
        keymap.of([...closeBracketsKeymap, ...defaultKeymap, ...historyKeymap, ...completionKeymap, { ...indentWithTab, run: (v) => !v.state.selection.main.empty && (indentWithTab.run?.(v) ?? false) }]),
        EditorView.contentAttributes.of({ tabindex: '0', 'aria-label': given.label, spellcheck: given.language === 'text' || given.language === 'markdown' ? 'true' : 'false' }),
        EditorState.changeFilter.of((change) => {
          if (quiet || !change.docChanged || change.newDoc.length <= given.most || change.newDoc.length <= change.startState.doc.length) return true;
          given.tooLong(change.newDoc.length);
          return false;
        }),
        EditorView.domEventHandlers({
          paste(event) {
            const length = event.clipboardData?.getData('text/plain').length ?? 0;
            if (length <= given.most) return false;
            given.tooLong(length);
            event.preventDefault();
            return true;
          },
        }),
        EditorView.updateListener.of((update) => {
          if (update.docChanged && !quiet) given.changed(update.state.doc.toString());
          if (update.docChanged && update.transactions.some((one) => one.isUserEvent('input.type')) && /\{\{\s*$/.test(update.state.sliceDoc(Math.max(0, update.state.selection.main.head - 6), update.state.selection.main.head))) startCompletion(update.view);
        }),
      ],
    }),
  });

  return {
    replace(text) {
      if (text === view.state.doc.toString()) return;
      quiet = true;
      view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: text }, annotations: Transaction.addToHistory.of(true) });
      quiet = false;
    },
    mark(marks) {
      view.dispatch(
        setDiagnostics(
          view.state,
          marks.map((mark) => {
            const line = view.state.doc.line(Math.min(Math.max(1, mark.line), view.state.doc.lines));
            const from = Math.min(line.to, line.from + Math.max(0, mark.column - 1));
            const word = /^[\w<>{}%/.-]*/.exec(view.state.sliceDoc(from, line.to))?.[0].length ?? 0;
            return { from, to: Math.min(line.to, from + Math.max(1, word)), severity: mark.severity, message: mark.message };
          }),
        ),
      );
    },
    insert(text) {
      view.dispatch(view.state.replaceSelection(text));
      view.focus();
      startCompletion(view);
    },
    go(line, column) {
      const at = view.state.doc.line(Math.min(Math.max(1, line), view.state.doc.lines));
      view.dispatch({ selection: { anchor: Math.min(at.to, at.from + Math.max(0, column - 1)) }, scrollIntoView: true });
      view.focus();
    },
    end: () => view.destroy(),
  };
}
