// The list of people, what each of them saw last, and the form for a newcomer.

import { day, el, face, nameOf, number, time } from './dom.js';
import { plain } from './format.js';
import { post } from './wire.js';

/** The list. choose(key) is called when somebody is picked. */
export function peopleList(place, choose) {
  const rows = new Map();

  function row(person) {
    let made = rows.get(person.key);
    if (!made) {
      const name = el('span', { class: 'name' });
      const when = el('span', { class: 'when' });
      const last = el('span', { class: 'last' });
      const count = el('span', { class: 'count', hidden: true });
      const button = el(
        'button',
        { type: 'button', class: 'person', 'data-person': person.key, onclick: () => choose(person.key) },
        face(nameOf(person), person.key),
        el('span', { class: 'lines' }, el('span', { class: 'upper' }, name, when), el('span', { class: 'lower' }, last, count)),
      );
      made = { item: el('li', {}, button), button, name, when, last, count };
      rows.set(person.key, made);
    }
    return made;
  }

  /** Shows everybody; `chosen` are those whose chats are open. */
  function show(people, messagesOf, unreadOf, chosen) {
    for (const person of people) {
      const { item, button, name, when, last, count } = row(person);
      if (!item.isConnected) place.append(item);
      const message = messagesOf(person.key).at(-1);
      const unread = unreadOf(person.key);
      write(name, nameOf(person));
      write(when, message ? moment(new Date(message.at)) : '');
      write(last, person.typing ? 'typing…' : summary(person, message));
      last.classList.toggle('typing', person.typing);
      last.classList.toggle('invites', !message && !person.typing);
      count.hidden = unread === 0;
      write(count, unread === 0 ? '' : String(unread));
      button.classList.toggle('unread', unread > 0);
      button.setAttribute('aria-current', chosen.includes(person.key) ? 'true' : 'false');
      button.setAttribute('aria-label', spoken(person, message, unread));
    }
  }

  function clear() {
    rows.clear();
    place.replaceChildren();
  }

  return { show, clear };
}

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function moment(at) {
  const label = day(at);
  return label === 'Today' ? time(at) : label;
}

function summary(person, message) {
  if (!message) return `Write as ${nameOf(person)}`;
  if (message.ticks === 'failed') return 'A message did not arrive';
  return `${message.side === 'person' ? 'You: ' : ''}${plain(message.text)}`;
}

function spoken(person, message, unread) {
  const parts = [`${nameOf(person)}, ${number(person.phone)}`];
  if (unread > 0) parts.push(`${unread} unread`);
  parts.push(person.typing ? 'the assistant is typing' : summary(person, message));
  return parts.join('; ');
}

/** What the simulator would refuse; nothing if all is well. */
function wrong(name, phone) {
  if (name === '') return 'Give a name.';
  const digits = phone.replace(/\D/g, '').length;
  if (/[^\d +()-]/.test(phone) || digits < 7 || digits > 15) {
    return 'Give a phone number of 7 to 15 digits, with the country code.';
  }
  return '';
}

/** The form for a newcomer. suggest() gives a free number, added(key) is called at the end. */
export function newcomerForm(dialog, suggest, added) {
  const form = dialog.querySelector('form');
  const error = form.querySelector('.error');
  const say = (sentence) => {
    error.textContent = sentence;
  };
  form.querySelector('[value=cancel]').addEventListener('click', () => dialog.close());
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const [name, phone] = [form.elements.name.value.trim(), form.elements.phone.value];
    say(wrong(name, phone));
    if (error.textContent !== '') return;
    try {
      const { person } = await post('/people', { name, phone });
      dialog.close();
      added(person);
    } catch (problem) {
      say(problem.message);
    }
  });
  return () => {
    form.reset();
    say('');
    form.elements.phone.value = suggest();
    dialog.showModal();
    form.elements.name.focus();
  };
}
