// One message as a bubble: its text, its time, its ticks, and what is wrong with it.

import { day, drawing, el, time } from './dom.js';
import { formatted } from './format.js';

const TICK = 'M1.5 8.5 5 12 12 4.5';
const SECOND_TICK = 'M7.5 11.2 8.3 12 15.5 4.5';

/** What a tick says to somebody who cannot see it. */
const MEANINGS = {
  none: 'on its way',
  sent: 'sent',
  delivered: 'delivered',
  read: 'read',
  failed: 'not delivered',
};

/** A bubble, to be kept current with update(message). */
export function bubbleOf(message, writer) {
  if (message.ticks === 'failed') return notice('A message of the assistant did not reach this phone.');
  const own = message.side === 'person';
  const body = el('div', { class: 'text' });
  body.append(formatted(message.text));
  keepRoom(body);
  const meta = el('span', { class: 'meta' }, el('time', { datetime: message.at }, time(new Date(message.at))));
  const trouble = el('p', { class: 'trouble', hidden: true });
  const node = el(
    'article',
    { class: `message ${own ? 'own' : 'theirs'}`, 'data-id': message.id },
    el('div', { class: 'bubble' }, el('span', { class: 'unseen' }, own ? `${writer}: ` : 'Clawkaka: '), body, meta),
    trouble,
  );
  const update = (now) => {
    if (own) setTicks(meta, now.ticks);
    const sentence = troubleOf(now);
    if (trouble.textContent !== sentence) trouble.textContent = sentence;
    trouble.hidden = sentence === '';
    node.classList.toggle('in-trouble', sentence !== '');
  };
  update(message);
  return { node, update };
}

/** Time and ticks stand at the end of the last line; if it is too long for that, below it. */
function keepRoom(body) {
  let end = body.lastElementChild;
  if (end?.matches('ul, ol, blockquote')) end = end.lastElementChild;
  end?.append(el('span', { class: 'room', 'aria-hidden': 'true' }));
}

function notice(sentence) {
  return { node: el('p', { class: 'notice bad' }, sentence), update: () => {} };
}

function setTicks(meta, ticks) {
  const before = meta.querySelector('.ticks');
  if (before?.dataset.ticks === ticks) return;
  const paths = ticks === 'sent' || ticks === 'none' ? [TICK] : [TICK, SECOND_TICK];
  const now = el('span', { class: 'ticks', role: 'img', 'aria-label': MEANINGS[ticks], title: MEANINGS[ticks] });
  now.dataset.ticks = ticks;
  now.append(drawing(17, ...paths));
  if (before) before.replaceWith(now);
  else meta.append(now);
}

/** Nothing, or why the assistant has not got a message yet. */
function troubleOf({ trouble }) {
  if (!trouble) return '';
  const why = trouble.status === null ? 'the assistant cannot be reached' : `the assistant answered ${trouble.status}`;
  return trouble.retrying ? `Not delivered yet (${why}), retrying…` : `Not delivered: ${why}.`;
}

/** The pill between two days. */
export function dayPill(at) {
  return el('p', { class: 'notice day' }, el('time', { datetime: at.toISOString().slice(0, 10) }, day(at)));
}
