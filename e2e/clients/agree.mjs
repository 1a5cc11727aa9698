// Do other people's clients, our simulators and our product agree? Each client makes each call that the product
// makes (`calls.json`, which the product's own test holds it to) at a simulator, and reads the webhooks that the
// simulator sends for every shape (`shapes.json`). Prints a table; the exit code says whether all agree.
//
// The environment says where: SIMULATORS (a list, see `sim.mjs`), CALLS, SHAPES.

import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';

import * as kapso from './kapso.mjs';
import * as meta from './meta.mjs';
import { Sim, differences, fill } from './sim.mjs';

const read = async (name) => JSON.parse(await readFile(process.env[name]));
const [calls, shapes] = [await read('CALLS'), await read('SHAPES')];
const CALLBACK = 'outbox-1:1';
const AN_HOUR_MS = 3_600_000;
const rows = [];
const used = new Map();

for (const told of JSON.parse(process.env.SIMULATORS)) {
  const sim = new Sim(told);
  await sim.listen();
  // whatsapp-api-js knows nothing of Kapso.
  for (const library of told.through === 'kapso' ? [kapso] : [meta, kapso]) await tryOut(library, sim);
}
report();
process.exit(rows.every(({ wrong }) => !wrong) ? 0 : 1);

async function tryOut(library, sim) {
  const client = new library.Client(sim);
  const check = (call, work) => note(library, sim, call, work);
  const person = { phone: calls.phone.slice(1), user_id: calls.user_id, name: 'Ana' };
  const theirs = (await sim.says(person, 'text', { body: 'Hi' })).wamid;
  const bytes = Buffer.from(shapes.files.png, 'base64');
  let file;

  await check('upload', async () => {
    file = await client.upload(bytes, 'image/png', 'cat.png');
    const taken = await sim.lastUpload();
    return differences({ id: file, mime: 'image/png', name: 'cat.png', size: bytes.length }, taken);
  });
  for (const call of calls.messages) {
    const filled = fill(call, { file, theirs });
    const wire = { messaging_product: 'whatsapp', recipient_type: 'individual', type: call.type, biz_opaque_callback_data: CALLBACK };
    for (const to of [{ to: calls.phone }, { recipient: calls.user_id }]) {
      const address = to.to ? { phone: to.to } : { user_id: to.recipient };
      await check(`${call.call} to a ${to.to ? 'phone' : 'user id'}`, async () => {
        const wamid = await client.send(address, filled, CALLBACK);
        const { body, taken, wamid: given } = await sim.lastCall();
        if (!taken || wamid !== given) throw new Error(`not taken: ${JSON.stringify(body)}`);
        const hook = await sim.hooks.next(({ text }) => text.includes(wamid) && text.includes('"delivered"'));
        await understandsStatus(client, sim, hook, wamid);
        return differences({ ...wire, ...to, [call.type]: filled.content }, body);
      });
    }
  }
  for (const { call, typing, body } of calls.marks) {
    await check(call, async () => {
      if (!await client.mark(theirs, typing)) throw new Error('no success');
      return differences(fill(body, { theirs }), (await sim.lastCall()).body);
    });
  }
  await check('describe and download', async () => {
    const described = await client.describe(sim.file);
    const found = { mime_type: described.mime_type, file_size: Number(described.file_size), sha256: described.sha256 };
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    const got = await client.download(described);
    return [
      ...differences({ mime_type: 'image/png', file_size: bytes.length, sha256 }, found),
      ...differences(bytes.toString('hex'), got.toString('hex'), 'bytes'),
    ];
  });
  await check(`${shapes.messages.length} shapes of webhooks`, () => understandsShapes(client, sim, person));
  // Meta has no such list.
  for (const { call, query } of sim.through === 'kapso' ? calls.lists : []) {
    await check(`${call}, page by page`, () => listsAll(client, sim, query));
  }
  await check('a forged webhook', async () => {
    const { hook } = await sim.says(person, 'text', { body: 'Hi' });
    const refused = await client.understand({ ...hook, raw: hook.raw.replace('Hi', 'Ho') }).then(() => false, () => true);
    return differences(true, refused, 'refused');
  });
}

async function understandsStatus(client, sim, hook, wamid) {
  const heard = await client.understand(hook);
  if (sim.through === 'kapso') return;
  const expected = { id: wamid, status: 'delivered', callback: CALLBACK };
  if (!isDeepStrictEqual(heard, expected)) throw new Error(`a receipt is read as ${JSON.stringify(heard)}`);
}

/** With everything known of the person, and with one thing missing. */
async function understandsShapes(client, sim, person) {
  const found = [];
  const words = { said: 'wamid.1', wrote: 'wamid.2', gone: 'wamid.3', file: '1', digest: 'x', phone: person.phone };
  for (const { shape, item } of shapes.messages) {
    for (const lack of [undefined, 'phone', 'user_id', 'name']) {
      const { type = 'text', [type]: content } = fill(item, words);
      const who = { ...person, [lack]: undefined };
      const { wamid, hook } = await sim.says(who, type, content ?? null);
      const heard = await client.understand(hook);
      const said = sim.through === 'kapso' ? heard : heard.message;
      if (sim.through !== 'kapso') found.push(...differences({ phone: who.phone, user_id: who.user_id, name: who.name }, { phone: heard.phone, user_id: heard.user_id, name: heard.name }, shape));
      const message = sim.through === 'kapso' ? said.message : said;
      found.push(...differences({ id: wamid, type }, { id: message.id, type: message.type }, shape));
    }
  }
  return found;
}

/** Every message that anybody wrote, by the query that we send; each page names the next one. */
async function listsAll(client, sim, query) {
  const seconds = (from) => new Date(Date.now() + from).toISOString().replace(/\.\d+/, '');
  const asked = fill(query, { since: seconds(-AN_HOUR_MS), until: seconds(AN_HOUR_MS) });
  const [found, listed] = [[], []];
  let after;
  do {
    const page = await client.list(asked, after);
    found.push(...differences(after ? { ...asked, after } : asked, (await sim.lastList()).query));
    listed.push(...page.ids);
    after = page.after;
  } while (after);
  return [...found, ...differences(sim.said.toSorted(), listed.toSorted(), 'listed')];
}

/** A difference is no fault where it is one of the client's documented choices. */
async function note(library, sim, call, work) {
  const row = { client: library.name, at: sim.through, call, wrong: '' };
  rows.push(row);
  try {
    const left = (await work()).filter((difference) => {
      const choice = library.choices.find((choice) => isChoice(choice, difference));
      if (choice) used.set(`${library.name}: ${difference.path}`, choice.why);
      return !choice;
    });
    row.wrong = left.map(({ path, ours, theirs }) => `${path}: ${JSON.stringify(ours)} is ${JSON.stringify(theirs)}`).join('; ');
  } catch (error) {
    row.wrong = String(error?.message ?? error);
  }
}

function isChoice(choice, { path, ours, theirs }) {
  if (!choice.path.test(path)) return false;
  if (choice.asJson) return typeof theirs === 'string' && isDeepStrictEqual(JSON.parse(theirs), ours);
  return choice.ours === ours && choice.theirs === theirs;
}

function report() {
  const wide = (text, width) => text.padEnd(width);
  console.log(`${wide('client', 28)}${wide('at', 7)}${wide('call', 30)}agrees`);
  for (const { client, at, call, wrong } of rows) {
    console.log(`${wide(client, 28)}${wide(at, 7)}${wide(call, 30)}${wrong ? `NO: ${wrong.slice(0, 600)}` : 'yes'}`);
  }
  for (const [where, why] of used) console.log(`${where} differs: ${why}`);
  console.log(`${rows.filter(({ wrong }) => !wrong).length} of ${rows.length} calls agree`);
}
