// The smallest client of OpenClaw's gateway protocol: one socket, numbered requests, events to one handler.
// approve.mjs uses it inside the sandbox; the measuring tools use it from outside.

export class Gateway {
  #socket;
  #waiting = new Map();
  #next = 1;

  /**
   * Opens a socket and answers the challenge. `prove(challenge)` returns the `device` part of `connect`;
   * without it the gateway keeps our scopes only on its own loopback.
   */
  static async connect({ url, token, scopes, prove, onEvent = () => {}, onClose = () => {} }) {
    const gateway = new Gateway();
    const challenge = await gateway.#open(url, onEvent, onClose);
    gateway.hello = await gateway.call("connect", {
      minProtocol: 4,
      maxProtocol: 4,
      client: { id: "gateway-client", version: "1.0.0", platform: "linux", mode: "backend" },
      role: "operator",
      scopes,
      auth: { token },
      ...(prove ? { device: prove(challenge) } : {}),
    });
    return gateway;
  }

  #open(url, onEvent, onClose) {
    return new Promise((resolve, reject) => {
      this.#socket = new WebSocket(url);
      this.#socket.onmessage = ({ data }) => {
        const frame = JSON.parse(data);
        if (frame.type === "event" && frame.event === "connect.challenge") resolve(frame.payload);
        else if (frame.type === "event") onEvent(frame);
        else if (frame.type === "res") this.#settle(frame);
      };
      this.#socket.onclose = ({ code, reason }) => {
        const gone = Object.assign(new Error(`gateway closed the socket: ${code} ${reason}`), { code: "CLOSED" });
        reject(gone);
        for (const { reject } of this.#waiting.values()) reject(gone);
        this.#waiting.clear();
        onClose();
      };
      this.#socket.onerror = () => {}; // always followed by onclose
    });
  }

  #settle({ id, ok, payload, error }) {
    const call = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (ok) call?.resolve(payload);
    else call?.reject(Object.assign(new Error(error.message), error));
  }

  call(method, params) {
    return new Promise((resolve, reject) => {
      const id = String(this.#next++);
      this.#waiting.set(id, { resolve, reject });
      this.#socket.send(JSON.stringify({ type: "req", id, method, params }));
    });
  }

  close() {
    this.#socket.close();
  }
}
