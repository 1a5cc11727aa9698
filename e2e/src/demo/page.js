// Puts the page together: who is there, what they wrote and were sent, and which chats are open.
//
// On a phone one chat is open, or the list; which one is in the address, so that "back" works. On
// a wide screen as many stand side by side as there is room for.

import { chatOf } from './chat.js';
import { el, number } from './dom.js';
import { newcomerForm, peopleList } from './people.js';
import { listen, post } from './wire.js';

const NARROW = matchMedia('(max-width: 760px)');
/** The least width of a chat beside others. */
const CHAT_WIDTH = 320;
const MOST_CHATS = 4;

const places = Object.fromEntries(
  ['people', 'chats', 'strip', 'model', 'about', 'add', 'newcomer'].map((id) => [id, document.getElementById(id)]),
);
const world = { run: null, people: new Map(), messages: new Map(), connected: false, restarted: false };
/** By key; a chat that was opened once stays, with what is being written in it. */
const chats = new Map();
/** The keys of open chats from left to right, and of those used last, the latest at the end. */
let open = [];
let used = [];
/** Chats that somebody closed do not open by themselves again. */
const closed = new Set();
/** Whose messages are being reported as read. */
const looking = new Set();

/** A newcomer whose chat opens as soon as the simulator tells of them. */
let wanted = null;

const list = peopleList(places.people, choose);
const invite = newcomerForm(places.newcomer, freeNumber, (key) => {
  wanted = key;
  if (world.people.has(key)) choose(key);
});
places.add.addEventListener('click', invite);

function messagesOf(key) {
  return world.messages.get(key) ?? [];
}

function unreadOf(key) {
  return messagesOf(key).filter((one) => one.side === 'assistant' && !['read', 'failed'].includes(one.ticks)).length;
}

function take({ people, messages }) {
  for (const person of people) world.people.set(person.key, person);
  for (const message of messages) {
    const theirs = world.messages.get(message.person) ?? [];
    const at = theirs.findIndex((one) => one.id === message.id);
    if (at < 0) theirs.push(message);
    else theirs[at] = message;
    theirs.sort((one, other) => one.place - other.place);
    world.messages.set(message.person, theirs);
  }
  if (wanted && world.people.has(wanted)) choose(wanted);
  show();
}

function news(changed) {
  // Whoever goes on has understood what the strip said.
  if (changed.messages.some((one) => one.side === 'person')) world.restarted = false;
  take(changed);
}

function hello(greeting) {
  const restarted = world.run !== null && world.run !== greeting.run;
  if (restarted) {
    forget(greeting.people);
    world.restarted = true;
  }
  world.run = greeting.run;
  world.connected = true;
  tellModel(greeting.model);
  take(greeting);
}

/** The simulator keeps nothing over a restart: newcomers are introduced again. */
function forget(known) {
  const there = new Set(known.map((person) => person.key));
  for (const { key, name, phone } of world.people.values()) {
    if (!there.has(key) && name && phone) post('/people', { name, phone }).catch(() => {});
  }
  world.people.clear();
  world.messages.clear();
  for (const chat of chats.values()) chat.node.remove();
  chats.clear();
  list.clear();
}

function tellModel(real) {
  places.model.hidden = false;
  places.model.textContent = real === null ? 'Scripted model' : `Real model: ${real}`;
  places.model.classList.toggle('real', real !== null);
  places.about.replaceChildren(
    el('p', {}, el('b', {}, real === null ? 'The answers are scripted. ' : 'The answers are real. '),
      real === null
        ? 'No model is connected, so a script stands in for it with canned sentences. Everything else is the real product.'
        : `They come from the model ${real}.`),
    el('p', {}, 'Ticks: ✓ WhatsApp has it, ✓✓ the assistant has it, blue ✓✓ it was read.'),
  );
}

function lost() {
  world.connected = false;
  show();
}

function show() {
  arrange();
  list.show([...world.people.values()], messagesOf, unreadOf, open);
  for (const key of open) {
    const chat = chats.get(key);
    chat.show(messagesOf(key));
    chat.setTyping(world.people.get(key).typing);
    look(key);
  }
  for (const chat of chats.values()) chat.setConnected(world.connected);
  tellConnection();
  const unread = [...world.people.keys()].reduce((sum, key) => sum + unreadOf(key), 0);
  document.title = `${unread > 0 ? `(${unread}) ` : ''}Talk to Clawkaka`;
}

function tellConnection() {
  let sentence = '';
  if (!world.connected) {
    sentence = world.run === null ? 'Connecting to the simulated WhatsApp…' : 'The simulated WhatsApp cannot be reached, trying again…';
  } else if (world.restarted) {
    sentence = 'The simulated WhatsApp was restarted: earlier messages are gone from these phones. The assistants still remember them.';
  }
  if (places.strip.textContent !== sentence) places.strip.textContent = sentence;
  places.strip.hidden = sentence === '';
  places.strip.classList.toggle('good', world.connected);
}

/** Reports as read what is on the screen, and only that. */
async function look(key) {
  const unseen = messagesOf(key).some((one) => one.side === 'assistant' && one.ticks === 'delivered');
  if (!unseen || looking.has(key) || document.visibilityState !== 'visible' || !world.connected) return;
  looking.add(key);
  await post('/look', { person: key }).catch(() => {});
  looking.delete(key);
}

// Which chats are open.

function chosenInAddress() {
  const key = decodeURIComponent(location.hash.slice(1));
  return world.people.has(key) ? key : null;
}

function choose(key) {
  wanted = null;
  world.restarted = false;
  closed.delete(key);
  if (NARROW.matches) {
    if (chosenInAddress() !== key) location.hash = encodeURIComponent(key);
  } else {
    used = [...used.filter((one) => one !== key), key];
    if (!open.includes(key)) {
      const oldest = used.find((one) => open.includes(one)) ?? open[0];
      if (open.length < room()) open.push(key);
      else open[open.indexOf(oldest)] = key;
    }
  }
  show();
  // A keyboard on the glass would cover what there is to read.
  if (matchMedia('(pointer: coarse)').matches) chats.get(key)?.focusLog();
  else chats.get(key)?.focusInput();
}

function close(key) {
  open = open.filter((one) => one !== key);
  used = used.filter((one) => one !== key);
  closed.add(key);
  show();
  document.querySelector(`.person[data-person="${CSS.escape(key)}"]`)?.focus();
}

function room() {
  return Math.max(1, Math.min(MOST_CHATS, Math.floor(places.chats.clientWidth / CHAT_WIDTH)));
}

function back() {
  if (!NARROW.matches) return;
  const key = chosenInAddress();
  location.hash = '';
  document.querySelector(`.person[data-person="${CSS.escape(key ?? '')}"]`)?.focus();
}

/** Decides which chats are open, and puts exactly those on the page. */
function arrange() {
  const chosen = chosenInAddress();
  document.body.classList.toggle('in-chat', NARROW.matches && chosen !== null);
  open = open.filter((key) => world.people.has(key));
  if (NARROW.matches) open = chosen === null ? [] : [chosen];
  else {
    const others = [...world.people.keys()].filter((key) => !open.includes(key) && !closed.has(key));
    open = [...open, ...others].slice(0, room());
  }
  for (const key of open) {
    if (chats.has(key)) continue;
    const chat = chatOf(world.people.get(key), { back, close: () => close(key) });
    // What was said before is there when the chat appears, so that no screen reader reads it all.
    chat.show(messagesOf(key));
    chats.set(key, chat);
  }
  const nodes = open.map((key) => chats.get(key).node);
  for (const node of [...places.chats.children]) if (!nodes.includes(node)) node.remove();
  open.forEach((key, at) => {
    if (places.chats.children[at] === nodes[at]) return;
    places.chats.insertBefore(nodes[at], places.chats.children[at] ?? null);
  });
  places.chats.classList.toggle('none', open.length === 0);
}

function freeNumber() {
  let phone = 15550003;
  while (world.people.has(String(phone))) phone += 1;
  return number(String(phone));
}

addEventListener('hashchange', show);
addEventListener('resize', show);
document.addEventListener('visibilitychange', show);
show();
listen({ hello, news, lost });
