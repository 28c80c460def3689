/** What a connection to the signaling server is made of: one WebSocket, its heartbeat, its session and its requests. */

// Durations are in milliseconds.
const REPLY_TIMEOUT = 15_000;
const MAX_REPLY_TIMEOUT = 60_000; // for a request that can be sent again, on a connection that works
const LATE = 1000; // a timer that fires later than this was held up, as in a background tab
const MAX_POSITIONS = 64;
const REPEATABLE = new Set(["offer", "answer", "ice-candidate", "signal", "message", "kick", "lock", "unlock", "close-room",
  "update", "list-bans", "unban"]);

/** Deletes the oldest entry of a Map or Set that has grown beyond its limit. */
export const trim = (entries, limit) => entries.size > limit && entries.delete(entries.keys().next().value);

export const emit = (target, type, detail) => target.dispatchEvent(new CustomEvent(type, {detail}));

/**
 * An error of the server, or one of the client; then `code` is
 * - "connection-lost": the request was not sent.
 * - "unknown": the connection was lost before the reply, and the session could not be resumed. The request may have been carried
 *   out, or not.
 * - "timeout": the connection works, but there is no reply. The request may have been carried out, or not.
 * - "message-too-big": the message can never be sent; `details.limit` is the limit in bytes.
 * - "unreachable", "handshake-refused", "no-token": there is no first connection; the message says where to look.
 * - "closed": the connection was closed for good, by this side or by the server; `details` are {code, reason}.
 * - "cancelled": leave() or another join() was called before this join() was done.
 */
export class SignalingError extends Error {
  constructor(code, message, retryable = false, details = undefined) {
    super(message);
    Object.assign(this, {name: "SignalingError", code, retryable, details});
  }
}

export const connectionLost = () => new SignalingError("connection-lost", "The connection to the server is lost.", true);

/** The error of a request without a reply whose connection is lost. */
export const lossOf = ({sent, type}) => {
  const text = `The connection was lost before the reply to ${type}, which may have arrived.`;
  return sent ? new SignalingError("unknown", text) : connectionLost();
};

export const tooBig = (type, size, limit) =>
  new SignalingError("message-too-big", `The ${type} has ${size} bytes; the server allows ${limit ?? "fewer"}.`, false, {limit});

/** The bytes of a text in UTF-8; they are only counted if they may exceed the limit. */
const sizeOf = (text, limit) => (text.length * 3 > limit ? new TextEncoder().encode(text).length : text.length);

/** What survives a lost connection. */
export class Session {
  delivered = 0; // the number of the last message
  positions = new Map(); // by room, the last `at`

  constructor(token = undefined) {
    this.token = token;
  }

  keepPosition(room, at) {
    this.positions.delete(room);
    this.positions.set(room, at);
    trim(this.positions, MAX_POSITIONS);
  }
}

/** Sends a ping when nothing has arrived for an interval, and reports a connection on which nothing arrives after that. */
class Heartbeat {
  #interval = 0;
  #timer = 0;
  #due = 0;
  #pingedAt = 0;
  #unanswered = 0;

  constructor(ping, onDead) {
    this.ping = ping;
    this.onDead = onDead;
    this.heardAt = performance.now();
  }

  /** Notes that something has arrived. */
  heard() {
    this.heardAt = performance.now();
  }

  /** @param {number} interval the silence before a ping; 0 for no heartbeat */
  start(interval) {
    this.stop();
    this.#interval = interval;
    if (interval) this.#wait(interval);
  }

  stop() {
    clearTimeout(this.#timer);
    this.#timer = this.#unanswered = 0;
  }

  /** Asks at once, for example because the network has changed. */
  probe() {
    if (this.#timer && !this.#unanswered) this.#ask();
  }

  #wait(duration) {
    clearTimeout(this.#timer);
    this.#due = performance.now() + duration;
    this.#timer = setTimeout(() => this.#check(), duration);
  }

  #ask() {
    this.#unanswered++;
    this.#pingedAt = performance.now();
    this.ping();
    this.#wait(this.#interval);
  }

  #check() {
    const now = performance.now();
    const silence = now - this.heardAt;
    if (this.heardAt > this.#pingedAt) this.#unanswered = 0;
    // Behind a late timer the answer may still wait to be handled: it takes a second ping to be sure.
    const allowed = now - this.#due > LATE ? 1 : 0;
    if (silence < this.#interval) this.#wait(this.#interval - silence);
    else if (this.#unanswered <= allowed) this.#ask();
    else this.#dead();
  }

  #dead() {
    this.stop();
    this.onDead();
  }
}

/** One WebSocket and its state. */
export class Transport {
  fresh = true; // no numbered message has arrived yet
  used = false; // a request was sent to restore the session
  ready = false; // restored
  complete = false; // restored, and no message is missing
  openedAt = 0;
  moveAfter = undefined; // set when the server asks us to reconnect

  constructor(url, protocols, session, onDead) {
    this.session = session;
    this.socket = new WebSocket(url, protocols);
    this.heartbeat = new Heartbeat(() => this.send('{"type":"ping"}'), () => onDead(this));
    setTimeout(() => this.socket.readyState === WebSocket.CONNECTING && onDead(this), REPLY_TIMEOUT);
  }

  get open() {
    return this.socket.readyState === WebSocket.OPEN;
  }

  /** Does nothing on a socket that is closing: its close event reports the loss. */
  send(text) {
    if (this.socket.readyState < WebSocket.CLOSING) this.socket.send(text);
  }

  close(code) {
    this.heartbeat.stop();
    this.socket.close(code);
  }
}

/** The requests without a reply: sent on a transport, or held until the session is resumed. */
export class PendingRequests {
  maxBytes = undefined; // of a message, if the server has told it
  #requests = new Map();
  #lastId = Math.floor(Math.random() * 2 ** 52); // random, so that ids differ between tabs and page loads

  /** @returns {Promise<object>} settled with the reply */
  add(request) {
    const {type, room, payload, negotiation} = request;
    const id = ++this.#lastId;
    const text = JSON.stringify({type, room, payload, id, negotiation});
    const size = sizeOf(text, this.maxBytes);
    if (size > this.maxBytes) return Promise.reject(tooBig(type, size, this.maxBytes));
    Object.assign(request, {id, text, sent: false});
    return new Promise((resolve, reject) => this.#requests.set(id, Object.assign(request, {resolve, reject})));
  }

  /** Sends a request; `onSilent` is called with the transport if nothing arrives on it any more. */
  send(request, transport, onSilent) {
    if (!this.#requests.has(request.id)) return; // refused at once
    const again = request.sent && REPEATABLE.has(request.type);
    Object.assign(request, {transport, held: false, sent: true, sentAt: performance.now()});
    this.#expect(request, onSilent);
    transport.send(again ? `${request.text.slice(0, -1)},"again":true}` : request.text);
  }

  hold(request) {
    clearTimeout(request.timer);
    request.held = true;
  }

  /** @returns {boolean} whether there was such a request */
  settle(id, payload, error) {
    const request = this.#requests.get(id);
    if (!request) return false;
    this.#requests.delete(id);
    clearTimeout(request.timer);
    if (error) request.reject(error);
    else request.resolve(payload);
    return true;
  }

  /** The held requests and, with a transport, those sent on it. */
  unanswered(transport = null) {
    return [...this.#requests.values()].filter((request) => request.held || request.transport === transport);
  }

  /** Rejects the largest request sent on a transport: the one for which the server has closed it. */
  rejectLargest(transport) {
    const sent = this.unanswered(transport).filter((request) => !request.held);
    const largest = sent.sort((one, other) => other.text.length - one.text.length)[0];
    if (largest) this.settle(largest.id, null, tooBig(largest.type, sizeOf(largest.text), this.maxBytes));
  }

  #expect(request, onSilent) {
    const due = performance.now() + REPLY_TIMEOUT;
    request.timer = setTimeout(() => this.#overdue(request, performance.now() - due > LATE, onSilent), REPLY_TIMEOUT);
  }

  #overdue(request, late, onSilent) {
    const {id, type, resend, sentAt, transport} = request;
    const waited = performance.now() - sentAt;
    const works = transport.heartbeat.heardAt > sentAt;
    if (resend && (works || late) && waited < MAX_REPLY_TIMEOUT) return this.#expect(request, onSilent);
    // A request that can be sent again is, on the next connection.
    const error = new SignalingError("timeout", `There is no reply to ${type}, which may have arrived.`, !resend);
    if (!resend || works) this.settle(id, null, error);
    if (!resend || !works) onSilent(transport);
  }
}

/** An access token, or a function that returns one. */
export class TokenSource {
  #token;
  #attempt = null;

  constructor(token) {
    this.#token = token;
  }

  /** Whether the function has not answered yet. */
  get pending() {
    return this.#attempt !== null;
  }

  get renewable() {
    return typeof this.#token === "function";
  }

  async get() {
    return this.renewable ? this.#token() : this.#token;
  }

  /** Calls `use` with the subprotocols that carry the token, or `fail`, unless cancelled or called again meanwhile. */
  fetchProtocols(use, fail) {
    if (this.#token === undefined) return use([]);
    const attempt = (this.#attempt = {});
    const ifCurrent = (then) => (token) => {
      if (this.#attempt !== attempt) return;
      this.#attempt = null;
      then(token);
    };
    this.get().then(ifCurrent((token) => use(["mcp-actors", `mcp-actors.token.${token}`])), ifCurrent(fail));
  }

  cancel() {
    this.#attempt = null;
  }
}
