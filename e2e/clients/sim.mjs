// A simulator as a script sees it: its control API, and a server that its webhooks come to.

import { createServer } from 'node:http';
import { isDeepStrictEqual } from 'node:util';

const PATIENCE_MS = 30_000;

export class Sim {
  /** @param {object} told `api`, `control`, `token`, `secret`, `number`, `file`, as the test that runs us says. */
  constructor(told) {
    Object.assign(this, told, { said: [] });
  }

  async control(path, body) {
    const init = body && { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
    const answer = await fetch(this.control_url + path, init);
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return answer.json();
  }

  /** What a client POSTed last to `/messages`. */
  async lastCall() {
    return (await this.control('/calls')).at(-1);
  }

  async lastUpload() {
    return (await this.control('/uploads')).at(-1);
  }

  async lastList() {
    return (await this.control('/lists')).at(-1);
  }

  /** A person writes; returns the message's id and the webhook that came of it. */
  async says(person, type, content) {
    const { wamid } = await this.control('/say', { person, type, content });
    this.said.push(wamid);
    return { wamid, hook: await this.hooks.next(({ text }) => text.includes(wamid)) };
  }

  /** From now on webhooks come to us. */
  async listen() {
    this.hooks = new Hooks();
    await this.hooks.open();
    await this.control('/webhook', { url: this.hooks.url });
  }
}

/** Webhooks as they came, each to be taken once. */
class Hooks {
  #come = [];
  #waiting = [];

  async open() {
    this.server = createServer(async (request, response) => {
      const pieces = await Array.fromAsync(request);
      const raw = Buffer.concat(pieces).toString();
      // Meta writes a slash as `\\/`.
      this.#take({ headers: request.headers, raw, text: JSON.stringify(JSON.parse(raw)) });
      response.end();
    });
    await new Promise((done) => this.server.listen(0, '127.0.0.1', done));
    this.url = `http://127.0.0.1:${this.server.address().port}/`;
  }

  #take(hook) {
    const at = this.#waiting.findIndex(({ wanted }) => wanted(hook));
    if (at < 0) this.#come.push(hook);
    else this.#waiting.splice(at, 1)[0].done(hook);
  }

  next(wanted) {
    const at = this.#come.findIndex(wanted);
    if (at >= 0) return Promise.resolve(this.#come.splice(at, 1)[0]);
    return new Promise((done, fail) => {
      this.#waiting.push({ wanted, done });
      setTimeout(() => fail(new Error('a webhook did not come')), PATIENCE_MS).unref();
    });
  }
}

/** Where two values differ: paths, with both values. */
export function differences(ours, theirs, path = '') {
  if (isDeepStrictEqual(ours, theirs)) return [];
  const both = [ours, theirs];
  if (both.every((value) => value && typeof value === 'object') && Array.isArray(ours) === Array.isArray(theirs)) {
    const keys = new Set(both.flatMap(Object.keys));
    return [...keys].flatMap((key) => differences(ours[key], theirs[key], path ? `${path}.${key}` : key));
  }
  return [{ path, ours, theirs }];
}

/** Puts meanings in the place of words that begin with a `$`. */
export function fill(value, words) {
  if (typeof value === 'string') return value.startsWith('$') ? words[value.slice(1)] : value;
  if (Array.isArray(value)) return value.map((one) => fill(one, words));
  if (value && typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, fill(one, words)]));
  }
  return value;
}
