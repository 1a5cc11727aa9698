// whatsapp-api-js, as a program would use it that sends what we send.

import { WhatsAppAPI } from 'whatsapp-api-js';
import * as m from 'whatsapp-api-js/messages';

export const name = 'whatsapp-api-js';

/** Where it differs from us in what Meta documents as a choice of the caller. */
export const choices = [
  { path: /^text\.preview_url$/, ours: false, theirs: undefined, why: 'left out where it is false, which Meta takes for false' },
  { path: /^template\.language\.policy$/, ours: undefined, theirs: 'deterministic', why: 'the only one there is, which Meta needs no more' },
  { path: /^contacts$/, asJson: true, why: 'as JSON text in the body; Graph takes nested parameters so, too' },
];

export class Client {
  constructor(sim) {
    this.sim = sim;
    // It knows one host only.
    const here = (url, init) => fetch(String(url).replace('https://graph.facebook.com', sim.api), init);
    this.api = new WhatsAppAPI({ token: sim.token, appSecret: sim.secret, v: 'v24.0', ponyfill: { fetch: here } });
  }

  async send({ phone, user_id }, call, callback) {
    const to = phone ? { phone } : { bsuid: user_id };
    const answer = await this.api.sendMessage(this.sim.number, to, message(call), undefined, callback);
    return answer.messages?.[0].id ?? Promise.reject(new Error(JSON.stringify(answer)));
  }

  async mark(wamid, typing) {
    const answer = await this.api.markAsRead(this.sim.number, wamid, typing ? 'text' : undefined);
    return answer.success;
  }

  async upload(bytes, mime, fileName) {
    const form = new FormData();
    form.set('file', new Blob([bytes], { type: mime }), fileName);
    return (await this.api.uploadMedia(this.sim.number, form)).id;
  }

  describe(id) {
    return this.api.retrieveMedia(id);
  }

  async download(described) {
    return Buffer.from(await (await this.api.fetchMedia(described.url)).arrayBuffer());
  }

  /** What it makes of a webhook; fails where the signature is not right. */
  async understand({ headers, raw }) {
    let heard;
    this.api.on.message = (told) => (heard = { message: told.message, phone: told.contact.wa_id, user_id: told.contact.user_id, name: told.name });
    this.api.on.status = (told) => (heard = { id: told.id, status: told.status, callback: told.biz_opaque_callback_data });
    await this.api.post(JSON.parse(raw), raw, headers['x-hub-signature-256']);
    return heard;
  }
}

function message({ type, content }) {
  switch (type) {
    case 'text': return new m.Text(content.body, content.preview_url);
    case 'image': return new m.Image(content.id, true, content.caption);
    case 'video': return new m.Video(content.id, true, content.caption);
    case 'audio': return new m.Audio(content.id, true, content.voice);
    case 'document': return new m.Document(content.id, true, content.caption, content.filename);
    case 'sticker': return new m.Sticker(content.id, true);
    case 'location': return new m.Location(content.longitude, content.latitude, content.name, content.address);
    case 'contacts': return new m.Contacts(...content.map(contact));
    case 'reaction': return new m.Reaction(content.message_id, content.emoji);
    case 'template': return new m.Template(content.name, new m.Language(content.language.code));
    case 'interactive': return new m.Interactive(action(content), new m.Body(content.body.text));
  }
}

function contact({ name, phones, emails }) {
  return [
    new m.Name(name.formatted_name, name.first_name),
    ...phones.map(({ phone }) => new m.Phone(phone)),
    ...emails.map(({ email }) => new m.Email(email)),
  ];
}

function action({ type, action }) {
  switch (type) {
    case 'button': return new m.ActionButtons(...action.buttons.map(({ reply }) => new m.Button(reply.id, reply.title)));
    case 'list': {
      const rows = action.sections[0].rows.map((row) => new m.Row(row.id, row.title, row.description));
      return new m.ActionList(action.button, new m.ListSection(undefined, ...rows));
    }
    case 'cta_url': return new m.ActionCTA(action.parameters.display_text, action.parameters.url);
  }
}
