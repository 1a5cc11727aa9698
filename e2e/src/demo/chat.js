// One conversation, as the person's phone shows it: the assistant on the other side, the bubbles,
// and the line to write on.

import { assistantFace, day, drawing, el, nameOf } from './dom.js';
import { bubbleOf, dayPill } from './message.js';
import { post } from './wire.js';

const SAMPLES = ['What can you do?', "Remember that my sister's birthday is 3 May", 'Hello! Who are you?'];
/** So near to its end a conversation follows what comes. */
const NEAR = 80;

/** A chat for a person. on.back, on.close: what the buttons in its head do. */
export function chatOf(person, on) {
  const name = nameOf(person);
  const bubbles = new Map();
  let last = null;
  /** Whether the end is in sight; then it stays there. How many came when it was not. */
  let following = true;
  let missed = 0;

  const status = el('p', { class: 'status', role: 'status' }, `${name}'s assistant`);
  const log = el('div', { class: 'log', role: 'log', tabindex: '0', 'aria-label': `Messages of ${name} and Clawkaka` });
  const typing = el(
    'div',
    { class: 'message theirs typing', 'aria-hidden': 'true', hidden: true },
    el('div', { class: 'bubble' }, el('i'), el('i'), el('i')),
  );
  const empty = emptyState(name, (text) => send(text));
  log.append(empty, typing);
  const jump = el('button', { type: 'button', class: 'jump', hidden: true, onclick: toEnd }, drawing(16, 'M3 6 8 11 13 6'));
  const missedCount = el('span', {});
  jump.append(missedCount);

  const input = el('textarea', {
    rows: 1,
    maxlength: 4096,
    placeholder: `Message as ${name}`,
    'aria-label': `Message as ${name}`,
    enterkeyhint: 'send',
    onkeydown: keyed,
    oninput: grow,
  });
  const button = el('button', { type: 'submit', class: 'send', 'aria-label': 'Send' }, drawing(16, 'M2 8 14 2.5 10.5 13.5 7.5 9Z', 'M14 2.5 7.5 9'));
  const error = el('p', { class: 'error', role: 'alert' });
  const composer = el('form', { class: 'composer', onsubmit: submitted }, input, button);

  const node = el(
    'section',
    { class: 'chat', 'data-person': person.key, 'aria-label': `${name}'s phone` },
    el(
      'header',
      { class: 'chat-top' },
      el('button', { type: 'button', class: 'icon back', 'aria-label': 'Back to all people', onclick: on.back }, drawing(16, 'M10 3 5 8 10 13')),
      assistantFace(),
      el('div', { class: 'who' }, el('h2', {}, 'Clawkaka'), status),
      el('span', { class: 'holder' }, el('small', {}, 'You are'), el('b', {}, name)),
      el('button', { type: 'button', class: 'icon close', 'aria-label': `Close ${name}'s phone`, onclick: on.close }, drawing(16, 'M4 4 12 12', 'M12 4 4 12')),
    ),
    el('div', { class: 'wall' }, log, jump),
    error,
    composer,
  );

  log.addEventListener('scroll', () => {
    following = isAtEnd();
    if (following) count(0);
  });
  new ResizeObserver(follow).observe(log);

  function follow() {
    if (following) toEnd();
  }

  function isAtEnd() {
    return log.scrollHeight - log.scrollTop - log.clientHeight < NEAR;
  }

  function toEnd() {
    log.scrollTop = log.scrollHeight;
    following = true;
    count(0);
  }

  function count(messages) {
    missed = messages;
    jump.hidden = missed === 0;
    missedCount.textContent = missed === 0 ? '' : String(missed);
    jump.setAttribute('aria-label', `${missed} new below: go to the latest message`);
  }

  /** Shows messages in their order; those that are there already only change their ticks. */
  function show(messages) {
    let own = false;
    let fresh = 0;
    for (const message of messages) {
      const known = bubbles.get(message.id);
      if (known) {
        known.update(message);
        continue;
      }
      const at = new Date(message.at);
      if (last === null || day(at) !== day(new Date(last.at))) {
        log.insertBefore(dayPill(at), typing);
        last = null;
      }
      const made = bubbleOf(message, name);
      if (last?.side !== message.side) made.node.classList.add('first');
      log.insertBefore(made.node, typing);
      bubbles.set(message.id, made);
      last = message;
      fresh += 1;
      own ||= message.side === 'person';
    }
    empty.hidden = messages.length > 0;
    if (following || own) toEnd();
    else if (fresh > 0) count(missed + fresh);
  }

  function setTyping(is) {
    if (typing.hidden === !is) return;
    typing.hidden = !is;
    typing.classList.toggle('first', last?.side !== 'assistant');
    status.textContent = is ? 'typing…' : `${name}'s assistant`;
    status.classList.toggle('typing', is);
    follow();
  }

  /** Nothing can be sent while the simulator cannot be reached. */
  function setConnected(is) {
    button.disabled = !is;
    for (const sample of empty.querySelectorAll('button')) sample.disabled = !is;
  }

  async function send(text) {
    if (text.trim() === '' || button.disabled) return;
    error.textContent = '';
    try {
      await post('/write', { person: person.key, text, id: crypto.randomUUID() });
      if (input.value === text) {
        input.value = '';
        grow();
      }
    } catch (problem) {
      error.textContent = `Not sent. ${problem.message}`;
    }
  }

  function submitted(event) {
    event.preventDefault();
    send(input.value);
    input.focus();
  }

  function keyed(event) {
    if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      send(input.value);
    } else if (event.key === 'Escape') on.back();
  }

  function grow() {
    input.style.height = 'auto';
    const borders = input.offsetHeight - input.clientHeight;
    input.style.height = `${input.scrollHeight + borders}px`;
  }

  return { node, show, setTyping, setConnected, focusInput: () => input.focus(), focusLog: () => log.focus() };
}

function emptyState(name, send) {
  const samples = SAMPLES.map((text) => el('li', {}, el('button', { type: 'button', onclick: () => send(text) }, text)));
  return el(
    'div',
    { class: 'empty' },
    el('h3', {}, `You are ${name}. Say something!`),
    el('p', {}, `Everybody who writes gets an assistant of their own. The first message wakes the one made for ${name}; that takes some seconds.`),
    el('ul', { 'aria-label': 'Sentences to begin with' }, ...samples),
  );
}
