// Builds the page piece by piece. Text only ever becomes text: nothing here takes markup.

/** An element: attributes ("onclick" and the like are listeners), then children. */
export function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith('on')) node.addEventListener(key.slice(2), value);
    else if (value === true) node.setAttribute(key, '');
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(key, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

const SVG = 'http://www.w3.org/2000/svg';

/** A line drawing of 16 high; each path is drawn in the text's colour. */
export function drawing(width, ...paths) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', `0 0 ${width} 16`);
  svg.setAttribute('width', width);
  svg.setAttribute('height', 16);
  svg.setAttribute('aria-hidden', 'true');
  for (const path of paths) {
    const line = document.createElementNS(SVG, 'path');
    line.setAttribute('d', path);
    svg.append(line);
  }
  return svg;
}

const COLOURS = 6;

/** A circle with the first letter of a name, in a colour that stays with the key. */
export function face(name, key) {
  let sum = 0;
  for (const character of key) sum += character.codePointAt(0);
  const initial = [...name.trim()][0] ?? '?';
  return el('span', { class: `face colour-${sum % COLOURS}`, 'aria-hidden': 'true' }, initial.toUpperCase());
}

/** The assistant's face. */
export function assistantFace() {
  const face = el('span', { class: 'face assistant', 'aria-hidden': 'true' });
  const svg = drawing(16, 'M4 13V7.5a4 4 0 0 1 8 0V13');
  const dot = document.createElementNS(SVG, 'circle');
  dot.setAttribute('cx', '8');
  dot.setAttribute('cy', '10');
  dot.setAttribute('r', '1.4');
  svg.append(dot);
  face.append(svg);
  return face;
}

export function nameOf(person) {
  return person.name ?? (person.phone ? number(person.phone) : 'Somebody');
}

/** +1 555 0001: the last digits in groups, as far as a number can be read without a phone book. */
export function number(phone) {
  if (!/^\d+$/.test(phone ?? '')) return phone ?? '';
  if (phone.startsWith('1')) return `+1 ${phone.slice(1).replace(/(\d{3})(?=\d{4,})/g, '$1 ').trim()}`;
  return `+${phone.replace(/(\d{2})(?=\d{3})/, '$1 ')}`;
}

const TIME = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });
const DAY = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'long', year: 'numeric' });
const DAY_MS = 24 * 3600 * 1000;

export function time(at) {
  return TIME.format(at);
}

export function day(at, now = new Date()) {
  const label = DAY.format(at);
  if (label === DAY.format(now)) return 'Today';
  if (label === DAY.format(new Date(now.getTime() - DAY_MS))) return 'Yesterday';
  return label;
}
