// Kapso's own SDK, at Meta's API and at Kapso's proxy, as a program would use it that sends what we send.

import { WhatsAppClient } from '@kapso/whatsapp-cloud-api';
import { normalizeWebhook, verifySignature } from '@kapso/whatsapp-cloud-api/server';

export const name = '@kapso/whatsapp-cloud-api';

/** Nothing: it sends what we send. */
export const choices = [];

export class Client {
  constructor(sim) {
    this.sim = sim;
    this.api = new WhatsAppClient(sim.through === 'kapso'
      ? { baseUrl: `${sim.api}/meta/whatsapp`, kapsoApiKey: sim.token, graphVersion: 'v24.0' }
      : { baseUrl: sim.api, accessToken: sim.token, graphVersion: 'v24.0' });
  }

  async send({ phone, user_id }, call, callback) {
    const to = phone ? { to: phone } : { recipient: user_id };
    const common = { phoneNumberId: this.sim.number, bizOpaqueCallbackData: callback, ...to };
    const answer = await this.#send(common, call);
    return answer.messages[0].id;
  }

  #send(common, { type, content }) {
    const { messages } = this.api;
    switch (type) {
      case 'text': return messages.sendText({ ...common, body: content.body, previewUrl: content.preview_url });
      case 'image': return messages.sendImage({ ...common, image: content });
      case 'video': return messages.sendVideo({ ...common, video: content });
      case 'audio': return messages.sendAudio({ ...common, audio: content });
      case 'document': return messages.sendDocument({ ...common, document: content });
      case 'sticker': return messages.sendSticker({ ...common, sticker: content });
      case 'location': return messages.sendLocation({ ...common, location: content });
      case 'contacts': return messages.sendContacts({ ...common, contacts: content.map(contact) });
      case 'template': return messages.sendTemplate({ ...common, template: content });
      case 'reaction': return messages.sendReaction({ ...common, reaction: { messageId: content.message_id, emoji: content.emoji } });
    }
    const { action, body: { text: bodyText } } = content;
    switch (content.type) {
      case 'button': return messages.sendInteractiveButtons({ ...common, bodyText, buttons: action.buttons.map(({ reply }) => reply) });
      case 'list': return messages.sendInteractiveList({ ...common, bodyText, buttonText: action.button, sections: action.sections });
      case 'cta_url': {
        const { display_text: displayText, url } = action.parameters;
        return messages.sendInteractiveCtaUrl({ ...common, bodyText, parameters: { displayText, url } });
      }
    }
  }

  async mark(messageId, typing) {
    const typingIndicator = typing ? { type: 'text' } : undefined;
    const answer = await this.api.messages.markRead({ phoneNumberId: this.sim.number, messageId, typingIndicator });
    return answer.success;
  }

  async upload(bytes, mime, fileName) {
    const file = new Blob([bytes], { type: mime });
    return (await this.api.media.upload({ phoneNumberId: this.sim.number, type: mime, file, fileName })).id;
  }

  async describe(mediaId) {
    const phoneNumberId = this.sim.through === 'kapso' ? this.sim.number : undefined;
    const told = await this.api.media.get({ mediaId, phoneNumberId });
    return { ...told, mime_type: told.mimeType, file_size: told.fileSize };
  }

  async download(described) {
    const url = this.sim.through === 'kapso' ? described.downloadUrl : described.url;
    return Buffer.from(await (await this.api.fetch(url)).arrayBuffer());
  }

  /** A page of what Kapso keeps of messages. */
  async list({ limit, ...query }, after) {
    const { data, paging } = await this.api.messages.query({ phoneNumberId: this.sim.number, ...query, limit: Number(limit), after });
    return { ids: data.map(({ id }) => id), after: paging.cursors.after };
  }

  /** What it makes of a webhook; fails where the signature is not right. Kapso's own form it only verifies. */
  async understand({ headers, raw }) {
    const signature = headers['x-hub-signature-256'] ?? `sha256=${headers['x-webhook-signature']}`;
    if (!verifySignature({ appSecret: this.sim.secret, rawBody: raw, signatureHeader: signature })) {
      throw new Error('the signature is not right');
    }
    if (this.sim.through === 'kapso') return JSON.parse(raw);
    const { messages: [message], statuses: [status], contacts: [contact] } = normalizeWebhook(JSON.parse(raw));
    if (status) return { id: status.id, status: status.status, callback: status.bizOpaqueCallbackData };
    return { message, phone: contact?.waId, user_id: contact?.userId, name: contact?.profile?.name };
  }
}

function contact({ name, phones, emails }) {
  return { name: { formattedName: name.formatted_name, firstName: name.first_name }, phones, emails };
}
