// From one way of writing to another. What comes along and what does not is said before; the text before stays in the history.

import { freshId, type Block, type Doc } from './document';

/** `whole`: nothing is lost; `words`: text, links and pictures come along, the layout does not. */
export type Loss = 'whole' | 'words';

export type Format = 'blocks' | 'markdown' | 'html' | 'mjml' | 'text';

export function loss(from: Format, to: Format): Loss {
  if (from === to || from === 'text' || from === 'markdown') return 'whole';
  if (from === 'html') return to === 'blocks' || to === 'mjml' ? 'whole' : 'words';
  return 'words';
}

const escape = (text: string) => text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');

/** Bold, italic, code and links of Markdown; variables stay as they are. */
function inline(text: string): string {
  const kept: string[] = [];
  const keep = (html: string) => `\u0000${kept.push(html) - 1}\u0000`;
  return escape(text.replace(/\{\{.*?\}\}|\{%.*?%\}/g, (tag) => keep(tag)))
    .replace(/`([^`]+)`/g, (_, code: string) => keep(`<code>${code}</code>`))
    .replace(/\[([^\]]+)\]\(([^)\s]+)[^)]*\)/g, (_, label: string, href: string) => `${keep(`<a href="${href.replace(/"/g, '%22')}">`)}${label}${keep('</a>')}`)
    .replace(/&lt;(https?:[^\s&]+)&gt;/g, (_, href: string) => keep(`<a href="${href}">${href}</a>`))
    .replace(/(\*\*|__)(?=\S)(.+?)(?<=\S)\1/g, '<strong>$2</strong>')
    .replace(/(?<![\w*])[*_](?=\S)([^*_]+?)(?<=\S)[*_](?![\w*])/g, '<em>$1</em>')
    .replace(/ {2,}\n|\\\n/g, '<br>')
    .replace(/\u0000(\d+)\u0000/g, (_, i: string) => kept[Number(i)] ?? '')
    .replace(/\u0000(\d+)\u0000/g, (_, i: string) => kept[Number(i)] ?? '');
}

function list(lines: string[], ordered: boolean): string {
  const items: string[] = [];
  for (const line of lines) {
    const item = /^\s*(?:[-*+]|\d+[.)])\s+(.*)$/.exec(line)?.[1];
    if (item !== undefined) items.push(item);
    else items.push(`${items.pop() ?? ''} ${line.trim()}`);
  }
  const tag = ordered ? 'ol' : 'ul';
  return `<${tag}>${items.map((item) => `<li><p>${inline(item)}</p></li>`).join('')}</${tag}>`;
}

/** Markdown as blocks: headings, pictures, rules and quotations become their own, the rest text. */
export function fromMarkdown(source: string): Block[] {
  const taken = new Set<string>();
  const blocks: Block[] = [];
  const text = (html: string) => {
    const last = blocks.at(-1);
    if (last?.type === 'text') last.html = `${last.html as string}${html}`;
    else blocks.push({ id: freshId(taken), type: 'text', html });
  };
  const parts = source.replace(/\r\n?/g, '\n').split(/\n{2,}|\n(?=#{1,6} )|(?<=^#{1,6} .*)\n/m);
  for (const part of parts.map((one) => one.replace(/^\n+|\s+$/g, '')).filter(Boolean)) {
    const heading = /^(#{1,6})\s+(.*?)\s*#*$/.exec(part);
    const image = /^!\[([^\]]*)\]\(([^)\s]+)[^)]*\)$/.exec(part);
    const lines = part.split('\n');
    if (heading) blocks.push({ id: freshId(taken), type: 'heading', text: heading[2] ?? '', level: Math.min(3, heading[1]!.length) });
    else if (image) blocks.push({ id: freshId(taken), type: 'image', src: image[2] ?? '', alt: image[1] ?? '', align: 'center' });
    else if (/^([-*_] ?){3,}$/.test(part)) blocks.push({ id: freshId(taken), type: 'divider' });
    else if (lines.every((line) => /^>/.test(line))) blocks.push({ id: freshId(taken), type: 'quote', text: lines.map((line) => line.replace(/^>\s?/, '')).join('\n') });
    else if (/^\s*[-*+]\s/.test(part)) text(list(lines, false));
    else if (/^\s*\d+[.)]\s/.test(part)) text(list(lines, true));
    else text(`<p>${inline(part)}</p>`);
  }
  return blocks;
}

export function fromText(source: string): Block[] {
  const taken = new Set<string>();
  const paragraphs = source.replace(/\r\n?/g, '\n').split(/\n{2,}/).filter((one) => one.trim());
  return paragraphs.length ? [{ id: freshId(taken), type: 'text', html: paragraphs.map((one) => `<p>${escape(one.trim()).replace(/\n/g, '<br>')}</p>`).join('') }] : [];
}

/** What stands between `<body>` and `</body>`, or everything. */
const bodyOf = (html: string) => /<body[^>]*>([\s\S]*?)<\/body>/i.exec(html)?.[1]?.trim() ?? html.trim();

/** The words of rich text or HTML as Markdown or plain text. */
function words(html: string, mark: boolean): string {
  return html
    .replace(/<(style|script|title|head)[\s\S]*?<\/\1>/gi, '')
    .replace(/<!--[\s\S]*?-->/g, '')
    .replace(/<a\s[^>]*href="([^"]*)"[^>]*>([\s\S]*?)<\/a>/gi, (_, href: string, label: string) => (mark ? `[${label}](${href})` : label.trim() === href ? href : `${label} (${href})`))
    .replace(/<(strong|b)>([\s\S]*?)<\/\1>/gi, mark ? '**$2**' : '$2')
    .replace(/<(em|i)>([\s\S]*?)<\/\1>/gi, mark ? '*$2*' : '$2')
    .replace(/<h([1-6])[^>]*>([\s\S]*?)<\/h\1>/gi, (_, level: string, text: string) => `\n\n${mark ? `${'#'.repeat(Number(level))} ` : ''}${text}\n\n`)
    .replace(/<img\s[^>]*>/gi, (tag) => {
      const alt = /alt="([^"]*)"/i.exec(tag)?.[1] ?? '';
      const src = /src="([^"]*)"/i.exec(tag)?.[1] ?? '';
      return mark && src ? `\n\n![${alt}](${src})\n\n` : alt;
    })
    .replace(/<\/p>\s*<\/li>/gi, '')
    .replace(/<li[^>]*>\s*(?:<p>)?/gi, '\n- ')
    .replace(/<br\s*\/?>/gi, mark ? '  \n' : '\n')
    .replace(/<\/(p|div|tr|ul|ol|table|blockquote)>/gi, '\n\n')
    .replace(/<[^>]+>/g, '')
    .replace(/&nbsp;/g, ' ').replace(/&lt;/g, '<').replace(/&gt;/g, '>').replace(/&quot;/g, '"').replace(/&#39;/g, "'").replace(/&amp;/g, '&')
    .replace(/[ \t]+\n(?!\n)/g, (gap) => (mark ? gap : '\n'))
    .replace(/\n{3,}/g, '\n\n')
    .trim();
}

/** Blocks as HTML without layout: the way from blocks to everything else. */
export function plainHtml(blocks: Block[]): string {
  const s = (value: unknown) => (typeof value === 'string' ? value : '');
  const link = (href: string, label: string) => (href ? `<p><a href="${href.replace(/"/g, '%22')}">${escape(label || href)}</a></p>` : label ? `<p>${escape(label)}</p>` : '');
  const lists = (block: Block) => [...((block.columns as { blocks: Block[] }[] | undefined) ?? []).flatMap((one) => one.blocks), ...((block.blocks as Block[] | undefined) ?? [])];
  return blocks
    .map((block): string => {
      switch (block.type) {
        case 'heading': return `<h${Number(block.level ?? 1)}>${escape(s(block.text)).replace(/\n/g, '<br>')}</h${Number(block.level ?? 1)}>`;
        case 'text':
        case 'html':
        case 'footer': return s(block.html);
        case 'image': return block.src ? `<p><img src="${s(block.src)}" alt="${escape(s(block.alt))}"></p>` : '';
        case 'button': return link(s(block.href), s(block.label));
        case 'divider': return '<hr>';
        case 'spacer': return '';
        case 'quote': return `<blockquote><p>${escape(s(block.text)).replace(/\n/g, '<br>')}</p>${block.author ? `<p>${escape(s(block.author))}</p>` : ''}</blockquote>`;
        case 'video': return link(s(block.href), s(block.caption) || s(block.alt));
        case 'social': return ((block.links as { network: string; href?: string; label?: string }[] | undefined) ?? []).map((one) => link(s(one.href), one.label || one.network)).join('');
        case 'products': return `<ul>${((block.items as Record<string, string>[] | undefined) ?? []).map((item) => `<li><p>${item.href ? `<a href="${item.href}">${escape(s(item.name))}</a>` : escape(s(item.name))} ${escape([item.description, item.price].filter(Boolean).join(' · '))}</p></li>`).join('')}</ul>`;
        case 'columns':
          return plainHtml(lists(block));
        case 'conditional': {
          const when = block.when as { variable: string; is: string; value?: string } | undefined;
          const value = JSON.stringify(when?.value ?? '').replace(/[{}%]/g, '');
          const test = { set: when?.variable ?? '', not_set: `not ${when?.variable}`, equal: `${when?.variable} == ${value}`, not_equal: `${when?.variable} != ${value}` }[when?.is ?? 'set'] ?? '';
          const other = (block.otherwise as Block[] | undefined) ?? [];
          return `{% if ${test} %}${plainHtml((block.blocks as Block[] | undefined) ?? [])}${other.length ? `{% else %}${plainHtml(other)}` : ''}{% endif %}`;
        }
      }
    })
    .filter(Boolean)
    .join('\n');
}

const footer = (): Block => ({ id: 'footer', type: 'footer', html: '', address: true, links: true });
const asDoc = (blocks: Block[]): Doc => ({ version: 1, theme: {}, blocks: blocks.some((one) => one.type === 'footer') ? blocks : [...blocks, footer()] });

/** The text in another way of writing. `doc` is the parsed body when it was blocks. */
export function convert(from: Format, to: Format, body: string, doc?: Doc): string {
  if (from === to) return body;
  const html = (): string => {
    if (from === 'blocks') return plainHtml(doc?.blocks ?? []);
    if (from === 'markdown') return plainHtml(fromMarkdown(body));
    if (from === 'text') return plainHtml(fromText(body));
    if (from === 'mjml') return [...body.matchAll(/<mj-text[^>]*>([\s\S]*?)<\/mj-text>/g)].map((m) => m[1]?.trim()).join('\n');
    return bodyOf(body);
  };
  switch (to) {
    case 'blocks':
      if (from === 'markdown') return JSON.stringify(asDoc(fromMarkdown(body)));
      if (from === 'text') return JSON.stringify(asDoc(fromText(body)));
      return JSON.stringify(asDoc(html() ? [{ id: 'html1', type: 'html', html: html() }] : []));
    case 'html':
      return html();
    case 'mjml':
      return `<mjml>\n  <mj-body>\n    <mj-section>\n      <mj-column>\n        <mj-text>\n${html()}\n        </mj-text>\n      </mj-column>\n    </mj-section>\n  </mj-body>\n</mjml>\n`;
    case 'markdown':
      return from === 'text' ? body : words(html(), true);
    case 'text':
      return from === 'markdown' ? body : words(html(), false);
  }
}
