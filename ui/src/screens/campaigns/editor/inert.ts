// Markup that a browser's parser may see without doing anything. Even a detached document tells of each `style` and `onload` that
// the page's policy refuses, so hostile text goes through here before any parser gets it. Plain text in, plain text out: no DOM.

/** Elements that the parser gets under their own names; all others are renamed, so that none is treated as something special. */
const KNOWN = new Set([
  'p', 'br', 'strong', 'b', 'em', 'i', 'u', 's', 'del', 'strike', 'sub', 'sup', 'a', 'ul', 'ol', 'li', 'span', 'h1', 'h2', 'h3', 'h4', 'h5', 'h6',
  'blockquote', 'code', 'pre', 'div', 'hr', 'table', 'thead', 'tbody', 'tfoot', 'tr', 'td', 'th',
]);
/** Elements whose content is no text of the message: it goes with them. */
const MUTE = new Set(['script', 'style', 'template', 'noscript', 'title', 'textarea', 'xmp', 'iframe', 'noembed', 'noframes', 'svg', 'math', 'select', 'object']);
/** Attributes that mean nothing to a browser until somebody clicks. */
const KEPT = new Set(['href', 'title']);

const escaped = (text: string) => text.replaceAll('<', '&lt;').replaceAll('>', '&gt;');
/** A name that was written by others, without anything that could end it. */
const bare = (name: string) => name.toLowerCase().replaceAll(/[^a-z0-9-]/g, '').slice(0, 40);

const BLANK = /[\s/]*/y;
const NAME = /[^\s/>=][^\s/>=]*/y;
const VALUE = /\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]*))/y;

/**
 * The same markup with elements and attributes that do nothing: `style` becomes `data-style` (or what is named), `href` and `title` stay, every
 * other attribute becomes `data-not-…`, every unknown element `x-…`; comments and scripts go. Each `<` of the result is one that
 * this function wrote, so it does not matter whether a browser would have seen the same tags in the original.
 */
export function inert(html: string, style = 'data-style'): string {
  const out: string[] = [];
  let at = 0;
  const match = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const found = pattern.exec(html);
    if (found) at = pattern.lastIndex;
    return found;
  };
  while (at < html.length) {
    const open = html.indexOf('<', at);
    if (open < 0) {
      out.push(escaped(html.slice(at)));
      break;
    }
    out.push(escaped(html.slice(at, open)));
    if (html.startsWith('<!--', open)) {
      const end = html.indexOf('-->', open + 4);
      at = end < 0 ? html.length : end + 3;
      continue;
    }
    const tag = /<(\/?)([a-z][^\s/>]*)/iy;
    tag.lastIndex = open;
    const head = tag.exec(html);
    if (!head) {
      // `<!doctype …>`, `<?…>` and `</ …>` are comments to a browser; any other `<` is a sign like others.
      const end = /[!?/]/.test(html[open + 1] ?? '') ? html.indexOf('>', open) : -1;
      if (end < 0) out.push('&lt;');
      at = end < 0 ? open + 1 : end + 1;
      continue;
    }
    at = tag.lastIndex;
    const given = bare(head[2]!);
    const name = KNOWN.has(given) || given.startsWith('x-') ? given : `x-${given}`;
    const attributes: string[] = [];
    for (;;) {
      match(BLANK);
      const attribute = match(NAME) ?? (html[at] === '=' ? match(/=[^\s/>=]*/y) : null);
      if (!attribute) break;
      const value = match(VALUE);
      const key = bare(attribute[0]);
      const kept = KEPT.has(key) || key.startsWith('data-') ? key : key === 'style' ? style : `data-not-${key}`;
      const text = value?.[1] ?? value?.[2] ?? value?.[3] ?? '';
      attributes.push(` ${kept}="${escaped(text).replaceAll('"', '&quot;')}"`);
    }
    // What has no end is no tag: nothing behind it is shown by a browser either.
    if (html[at] !== '>') break;
    at += 1;
    if (head[1]) {
      out.push(`</${name}>`);
      continue;
    }
    out.push(`<${name}${attributes.join('')}>`);
    if (MUTE.has(given)) {
      const end = new RegExp(`</${given}(?=[\\s/>])`, 'i').exec(html.slice(at));
      at = end ? at + end.index : html.length;
    }
  }
  return out.join('');
}
