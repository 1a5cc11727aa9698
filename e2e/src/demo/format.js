// WhatsApp's own markup as elements: *bold* _italic_ ~struck~ ```mono``` `mono`, lists, quotes,
// links. What is not markup stays exactly as it was written, and nothing is ever read as HTML.

import { el } from './dom.js';

const TAGS = { '*': 'strong', '_': 'em', '~': 's' };
const MONO = /```([\s\S]+?)```/g;
const LINK = /https?:\/\/[^\s<>"']+/y;
/** Deeper nesting is nobody's intention. */
const DEPTH = 6;

/** A message as lines and blocks, ready to be put on the page. */
export function formatted(text) {
  const out = document.createDocumentFragment();
  let open = null;
  for (const line of lines(text)) {
    const block = blockOf(line);
    if (block === null || open?.dataset.kind !== block.kind) {
      open = null;
    }
    if (block === null) {
      const plain = el('div', { class: 'line' });
      fill(plain, line);
      if (!plain.hasChildNodes()) plain.append(el('br'));
      out.append(plain);
      continue;
    }
    if (open === null) {
      open = el(block.outer);
      open.dataset.kind = block.kind;
      out.append(open);
    }
    const item = el(block.inner, block.value ? { value: block.value } : {});
    fill(item, block.rest);
    open.append(item);
  }
  return out;
}

/** The text alone on one line, for a list of conversations. */
export function plain(text) {
  const parts = [...formatted(text).querySelectorAll('.line, li, blockquote > div')];
  return parts.map((part) => part.textContent).join(' ').replace(/\s+/g, ' ').trim();
}

/** Lines, each a row of pieces: strings, and {mono} that may reach over several lines. */
function lines(text) {
  const all = [[]];
  let from = 0;
  const words = (part) => {
    part.split('\n').forEach((line, at) => {
      if (at > 0) all.push([]);
      if (line) all.at(-1).push(line);
    });
  };
  for (const found of text.matchAll(MONO)) {
    words(text.slice(from, found.index));
    all.at(-1).push({ mono: found[1].replace(/^\n|\n$/g, '') });
    from = found.index + found[0].length;
  }
  words(text.slice(from));
  return all;
}

function blockOf(line) {
  const first = typeof line[0] === 'string' ? line[0] : '';
  const after = (mark) => [first.slice(mark.length), ...line.slice(1)];
  const quote = first.match(/^> ?/);
  if (quote && (first.length > quote[0].length || line.length > 1)) {
    return { kind: 'quote', outer: 'blockquote', inner: 'div', rest: after(quote[0]) };
  }
  const bullet = first.match(/^[-*•] +(?=\S)/);
  if (bullet) return { kind: 'bullets', outer: 'ul', inner: 'li', rest: after(bullet[0]) };
  const numbered = first.match(/^(\d{1,3})\. +(?=\S)/);
  if (numbered) {
    return { kind: 'numbers', outer: 'ol', inner: 'li', value: numbered[1], rest: after(numbered[0]) };
  }
  return null;
}

function fill(node, pieces) {
  for (const piece of pieces) {
    if (typeof piece === 'string') inline(node, piece, DEPTH);
    else node.append(el('code', { class: piece.mono.includes('\n') ? 'block' : null }, piece.mono));
  }
}

function inline(node, text, depth) {
  let from = 0;
  let at = 0;
  const take = (until, made, next) => {
    if (until > from) node.append(text.slice(from, until));
    if (made) node.append(made);
    from = at = next;
  };
  while (at < text.length) {
    const link = linkAt(text, at);
    if (link) {
      take(at, linkTo(link), at + link.length);
      continue;
    }
    const mark = text[at];
    const end = opens(text, at) && depth > 0 ? closing(text, at) : -1;
    if (end < 0) {
      at += 1;
      continue;
    }
    const inside = text.slice(at + 1, end);
    const made = el(mark === '`' ? 'code' : TAGS[mark]);
    if (mark === '`') made.append(inside);
    else inline(made, inside, depth - 1);
    take(at, made, end + 1);
  }
  take(text.length, null, text.length);
}

function isWord(character) {
  return character !== undefined && /[\p{L}\p{N}]/u.test(character);
}

/** Whether a mark stands where a word begins. */
function opens(text, at) {
  const [before, mark, after] = [text[at - 1], text[at], text[at + 1]];
  if (!(mark in TAGS) && mark !== '`') return false;
  return !isWord(before) && before !== mark && after !== undefined && after !== mark && /\S/.test(after);
}

/** Where the same mark stands at the end of a word. */
function closing(text, open) {
  for (let at = open + 2; at < text.length; at += 1) {
    if (text[at] === text[open] && /\S/.test(text[at - 1]) && !isWord(text[at + 1])) return at;
  }
  return -1;
}

function linkAt(text, at) {
  if (text[at] !== 'h' || isWord(text[at - 1])) return null;
  LINK.lastIndex = at;
  const found = LINK.exec(text);
  if (!found || !URL.canParse(found[0])) return null;
  // What ends a sentence or a mark is not part of an address, nor is a bracket opened before it.
  const link = found[0].replace(/[.,;:!?*_~`]+$/, '');
  return link.includes('(') ? link : link.replace(/\).*$/, '');
}

function linkTo(address) {
  return el('a', { href: address, target: '_blank', rel: 'noopener noreferrer' }, address);
}
