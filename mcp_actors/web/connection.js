/** A connection to the signaling server that reconnects, resumes its session and sends requests; and its use for one room. */

import {
  PendingRequests,
  Session,
  SignalingError,
  TokenSource,
  Transport,
  connectionLost,
  emit,
  lossOf,
  trim,
} from "./transport.js";

// Durations are in milliseconds.
const CONNECT_TIMEOUT = 30_000;
const MAX_FIRST_DELAY = 200;
const MAX_DELAY = 30_000;
const STABLE_AFTER = 10_000;
const ID_TAKEN_TIMEOUT = 70_000; // our old connection has its id until the server notices its end, and then to resume
const MAX_ID_TAKEN_DELAY = 5_000;
const PROBE_TIMEOUT = 5_000;
const MAX_SEEN = 1024;
const LOST = 1006;
const TOO_BIG = 1009;
const CLOSED_TO_RECONNECT = 4002; // 1000 or 1001 would end the session
const RATE_LIMITED = 4004;
const FIRST_FINAL = 4500; // do not reconnect after this close code and higher ones
const CLOSED_HERE = "closed by this side";
const REPLACED = 4501;
const TOKEN_EXPIRED = 4503;

const LOST_REQUEST = new Set(["connection-lost", "unknown", "timeout"]); // codes of errors

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Exponential backoff with jitter, so that the clients of a restarted server do not all reconnect at once. */
const backoff = (attempt) => (0.5 + Math.random() / 2) * Math.min(MAX_DELAY, 500 * 2 ** attempt);

const idTakenDelay = (attempt) => Math.min(backoff(attempt), MAX_ID_TAKEN_DELAY);

const closed = (code, reason) =>
  new SignalingError("closed", `The connection is closed: ${reason || "no reason given"} (${code}).`, false, {code, reason});

/** Whether a server answers HTTP at this address: browsers tell no more about a WebSocket that was refused. */
async function answersHttp(url) {
  try {
    await fetch(url, {mode: "no-cors", cache: "no-store", signal: AbortSignal.timeout(PROBE_TIMEOUT)});
    return true;
  } catch {
    return false;
  }
}

/**
 * A connection that sends {type, room, payload, id}, matches replies to requests, reconnects, and resumes its session.
 *
 * Events: "open" (ready for requests, also after reconnecting), "reconnecting" ({attempt, delay, code}), "close" (for good:
 * {code, reason}), "error" (a SignalingError that answers no request).
 */
export class Connection extends EventTarget {
  #transport = null; // the one in use, or connecting
  #next = null; // the one that is to replace it
  #session = new Session();
  #restoring = null; // the transport on which restore() runs
  #ready = null;
  #pending = new PendingRequests();
  #seen = new Set(); // messages from others, to recognize duplicates
  #attempt = 0;
  #lastLoss = {code: LOST, reason: ""};
  #reconnectTimer = 0;
  #connectTimer = 0;
  #moveAttempt = 0;
  #moveTimer = 0;
  #limitedUntil = 0; // the end of the last `retry_after_ms`
  #onOnline = () => {
    if (!this.#reconnectTimer) return this.#transport?.heartbeat.probe();
    clearTimeout(this.#reconnectTimer);
    this.#connect();
  };
  #tokens;
  #connectTimeout;

  /**
   * @param {string | URL} url of the endpoint, ws: or wss:
   * @param {object} [options]
   * @param {string | (() => string | Promise<string>)} [options.token] an access token, or a function that returns one: it is
   *   called for every connection, and before a token expires, so that the connection is not interrupted
   * @param {number} [options.connectTimeout] how long connect() and join() try to connect, in milliseconds
   */
  constructor(url, {token, connectTimeout = CONNECT_TIMEOUT} = {}) {
    super();
    this.url = String(url);
    this.#tokens = new TokenSource(token);
    this.#connectTimeout = connectTimeout;
    /** @type {"closed" | "connecting" | "open" | "reconnecting"} */
    this.state = "closed";
  }

  /**
   * Connects. Once connected, the client reconnects for as long as it takes.
   * @returns {Promise<void>} fulfilled when the connection is ready, rejected when it is closed for good or cannot be opened
   */
  connect() {
    if (this.state === "closed") {
      this.#attempt = 0;
      this.#lastLoss = {code: LOST, reason: ""};
      this.state = "connecting";
      globalThis.addEventListener?.("online", this.#onOnline);
      this.#prepareReady();
      this.#limitConnecting();
      this.#connect();
    }
    return this.#ready.promise;
  }

  /** Closes for good; connect() opens again. */
  close() {
    if (this.state !== "closed") this.#finish(1000, CLOSED_HERE);
  }

  /**
   * Sends a request and waits for the reply. While there is no connection, the request waits until the session is resumed, and
   * is sent again if it may not have arrived. If the session cannot be resumed, it fails with "connection-lost" or "unknown".
   * @param {object} [options]
   * @param {number} [options.negotiation] the number of the offer it belongs to
   * @param {boolean} [options.resend] false if the request must not be sent on another connection
   * @returns {Promise<object>} the payload of the reply; rejected with a SignalingError
   */
  request(type, room, payload = {}, {negotiation, resend = true} = {}) {
    const open = this.#transport?.open;
    const hold = this.#canHold(resend) && !(open && this.#transport.ready);
    if (!open && !hold) return Promise.reject(connectionLost());
    return this.#issue({type, room, payload, negotiation, resend}, hold ? null : this.#transport);
  }

  /**
   * For subclasses: restores the state on every new connection before it is ready; may return an event to dispatch.
   * @param {(type: string, room?: string, payload?: object) => Promise<object>} _ask sends a request on the new connection
   */
  async restore(_ask) {}

  /** For subclasses: the fields of the request that resumes the session; empty without a session. */
  resumeFields() {
    const {token, delivered, positions} = this.#session;
    return token === undefined ? {} : {resume: token, received: delivered, at: Object.fromEntries(positions)};
  }

  /**
   * For subclasses: keeps what the reply to a join says about the session and the connection.
   * @returns {boolean} whether the session was resumed and no message is missing
   */
  updateSession({resume, resumed = false, complete = false, ping_interval = 0, max_message_bytes}) {
    const transport = this.#restoring ?? this.#transport;
    transport.session.token = resume;
    transport.complete = resumed && complete;
    transport.heartbeat.start(ping_interval * 1000);
    this.#pending.maxBytes = max_message_bytes ?? this.#pending.maxBytes;
    return transport.complete;
  }

  /** For subclasses: connects to join a room, which a server process that is about to stop would refuse. */
  connectToJoin() {
    if (this.#moveTimer || this.#next) this.#moveAtOnce();
    const ready = this.connect();
    this.#limitConnecting();
    return ready;
  }

  /** For subclasses: the error to report for a request that failed with its connection: what the server said, if anything. */
  explain(error) {
    return this.#lastLoss.code !== LOST && LOST_REQUEST.has(error.code) ? this.#closedByServer() : error;
  }

  /** For subclasses: handles a message that is not a reply. Unknown types must be ignored. */
  receive(_message) {}

  #prepareReady() {
    if (this.#ready && !this.#ready.done) return;
    const ready = (this.#ready = {done: false});
    ready.promise = new Promise((resolve, reject) => Object.assign(ready, {resolve, reject}));
    ready.promise.catch(() => {}); // it need not be awaited
  }

  #canHold(resend) {
    return resend && this.#session.token !== undefined && this.state !== "closed";
  }

  /** Sends a new request, or holds it if there is no transport. */
  #issue(request, transport) {
    const reply = this.#pending.add(request);
    if (transport) this.#send(request, transport);
    else this.#pending.hold(request);
    return reply;
  }

  #send(request, transport) {
    this.#pending.send(request, transport, (silent) => this.#drop(silent));
  }

  #connect() {
    this.#reconnectTimer = 0;
    this.#tokens.fetchProtocols(
      (protocols) => this.#dial(protocols),
      (error) => this.#lost(LOST, `no token: ${error?.message ?? error}`, "no-token"),
    );
  }

  #dial(protocols) {
    try {
      this.#transport = this.#open(protocols);
    } catch (error) {
      // The browser refuses the address or the token, and would do so again.
      this.#finish(LOST, error.message, new SignalingError("unreachable", `There can be no connection: ${error.message}`));
    }
  }

  /** Somebody waits for the connection: gives up if it is not ready in time. */
  #limitConnecting() {
    if (this.state !== "open") this.#connectTimer ||= setTimeout(() => this.#giveUp(), this.#connectTimeout);
  }

  async #giveUp() {
    const timer = this.#connectTimer; // changes when the connection is ready or closed
    const error = await this.#whyUnreachable();
    if (timer === this.#connectTimer) this.#finish(LOST, error.code, error);
  }

  async #whyUnreachable() {
    const {code, reason, cause} = this.#lastLoss;
    const error = (name, text) => new SignalingError(name, text, false, {code, reason});
    if (this.#tokens.pending) return error("no-token", "The function that returns an access token has not answered.");
    if (cause === "no-token") return error("no-token", `The page has no access token: ${reason}.`);
    if (code !== LOST) return this.#closedByServer();
    if (globalThis.navigator?.onLine === false) return error("unreachable", "This device is offline.");
    const address = this.url.replace(/^ws/, "http").replace(/\?.*/, "");
    if (!(await answersHttp(address))) {
      const causes = "Is it running, is that its address, and does the Content-Security-Policy of this page allow it?";
      return error("unreachable", `No server answers at ${address}. ${causes}`);
    }
    const causes = "It may not allow the origin of this page, or have too many connections, or the path is wrong";
    const hint = `the server's log says why, and so does curl -i -H "Origin: ${globalThis.location?.origin ?? ""}" ${address}`;
    return error("handshake-refused", `The server refuses the WebSocket, and browsers hide why. ${causes}: ${hint}`);
  }

  #closedByServer() {
    const {code, reason} = this.#lastLoss;
    const text = `The server closes each connection: ${reason || "no reason given"} (${code}).`;
    const limited = code === RATE_LIMITED;
    return new SignalingError(limited ? "rate-limited" : "unreachable", text, limited, {code, reason});
  }

  /** Renews the token of a connection; without a new one the server closes it, and it is reconnected. */
  async #authenticate(transport) {
    if (!this.#tokens.renewable) return;
    const token = await this.#tokens.get().catch(() => undefined);
    if (token !== undefined && this.#isUsed(transport)) transport.send(JSON.stringify({type: "authenticate", payload: {token}}));
  }

  #open(protocols) {
    const transport = new Transport(this.url, protocols, this.#session, () => this.#drop(transport));
    transport.socket.onopen = () => this.#opened(transport);
    transport.socket.onmessage = ({data}) => this.#isUsed(transport) && this.#received(transport, JSON.parse(data));
    transport.socket.onclose = ({code, reason}) => this.#closed(transport, code, reason);
    return transport;
  }

  #isUsed(transport) {
    return transport === this.#transport || transport === this.#next;
  }

  /** Closes a connection on which nothing arrives. */
  #drop(transport) {
    if (!this.#isUsed(transport)) return;
    transport.close(CLOSED_TO_RECONNECT);
    this.#closed(transport, LOST, "no reply");
  }

  async #opened(transport) {
    transport.openedAt = Date.now();
    const ask = (type, room, payload = {}) => {
      if (!this.#isUsed(transport) || !transport.open) return Promise.reject(connectionLost());
      transport.used = true;
      return this.#issue({type, room, payload, resend: false}, transport);
    };
    for (let attempt = 0; this.#isUsed(transport); attempt++) {
      try {
        const event = await this.#restore(transport, ask);
        if (this.#isUsed(transport)) this.#restored(transport, event);
        return;
      } catch (error) {
        if (!this.#isUsed(transport)) return;
        const taken = error.code === "peer-id-taken";
        const again = taken ? Date.now() - transport.openedAt < ID_TAKEN_TIMEOUT : error.retryable;
        if (!again) return this.#refused(transport, error);
        await sleep(taken ? idTakenDelay(attempt) : Math.max(backoff(attempt), this.#limitedFor()));
      }
    }
  }

  async #restore(transport, ask) {
    transport.complete = false;
    this.#restoring = transport;
    try {
      return await this.restore(ask);
    } finally {
      if (this.#restoring === transport) this.#restoring = null;
    }
  }

  #refused(transport, error) {
    if (transport === this.#transport) return this.#finish(FIRST_FINAL, error.code ?? "failed", error);
    transport.close(1000);
    this.#nextFailed(FIRST_FINAL);
  }

  #restored(transport, event) {
    const wasOpen = this.state === "open";
    if (transport === this.#next) this.#takeOver();
    transport.ready = true;
    this.state = "open";
    clearTimeout(this.#connectTimer);
    this.#connectTimer = 0;
    for (const request of this.#pending.unanswered()) {
      if (transport.complete) this.#send(request, transport);
      else this.#pending.settle(request.id, null, lossOf(request));
    }
    this.#ready.done = true;
    this.#ready.resolve();
    if (!wasOpen) emit(this, "open");
    if (event) this.dispatchEvent(event);
    if (transport.moveAfter !== undefined) this.#scheduleMove(transport, transport.moveAfter);
  }

  /** The server asks us to reconnect after a delay. The current connection stays in use until the next one is ready. */
  #scheduleMove(transport, after) {
    transport.moveAfter = after; // remembered if it is not in use yet
    if (transport !== this.#transport || this.#next || this.#moveTimer) return;
    this.#moveAttempt = 0;
    this.#moveTimer = setTimeout(() => this.#move(), after);
  }

  #move() {
    // Without a session our id is free only after this connection is closed.
    if (this.#session.token === undefined || !this.#transport.ready) return this.#moveAtOnce();
    this.#tokens.fetchProtocols(
      (protocols) => {
        this.#moveTimer = 0; // until here it means that a move is due
        try {
          this.#next = this.#open(protocols);
        } catch {
          this.#moveLater(); // with a usable token
        }
      },
      () => this.#moveLater(),
    );
  }

  /** Uses the next connection from now on. Requests that may not have reached the server are sent again. */
  #takeOver() {
    const old = this.#transport;
    this.#release(old);
    this.#next.openedAt = old.openedAt;
    this.#useNext();
    old.close(1000); // if the session was resumed, the server has closed it already
  }

  #useNext() {
    this.#transport = this.#next;
    this.#next = null;
    this.#session = this.#transport.session;
  }

  #nextFailed(code) {
    const transport = this.#next;
    this.#next = null;
    this.#release(transport);
    if (!this.#isFinal(code)) this.#moveLater();
  }

  #moveLater() {
    this.#moveTimer = setTimeout(() => this.#move(), backoff(this.#moveAttempt++));
  }

  /** Closes the current connection and opens another. */
  #moveAtOnce() {
    const transports = [this.#transport, this.#next];
    if (this.#next) this.#nextFailed(FIRST_FINAL);
    this.#lost(1012, "asked to reconnect");
    for (const transport of transports) transport?.close(CLOSED_TO_RECONNECT);
  }

  #received(transport, message) {
    transport.heartbeat.heard();
    const {delivery, type, room, id, sender, at, payload = {}} = message;
    if (delivery !== undefined && !this.#isNew(transport, delivery)) return;
    if (at !== undefined) transport.session.keepPosition(room, at);
    const {code, message: text, retryable, details} = payload;
    const error = type === "error" ? new SignalingError(code, text, retryable, details) : null;
    if (error?.code === "rate-limited") this.#limitedUntil = Date.now() + (details?.retry_after_ms ?? 0);
    // A relayed message has the id of its sender: only a message without a sender can be a reply.
    if (sender === undefined && this.#pending.settle(id, payload, error)) return;
    if (error) emit(this, "error", error);
    else if (type === "token-expiring") this.#authenticate(transport);
    else if (type === "reconnect") this.#scheduleMove(transport, payload.after_ms);
    else if (sender === undefined || !this.#isDuplicate(message)) this.receive(message);
  }

  /** Whether no message with this number was received before, on any connection of the session. */
  #isNew(transport, delivery) {
    // A connection that starts with 1 has started another session: a resumed one continues after `received`.
    if (transport.fresh && delivery === 1) {
      transport.session = new Session(transport.session.token);
      if (transport === this.#transport) this.#session = transport.session;
    }
    transport.fresh = false;
    if (delivery <= transport.session.delivered) return false;
    transport.session.delivered = delivery;
    return true;
  }

  /** Whether a message was sent again although it had arrived: the server process that relayed it was killed. */
  #isDuplicate({room, sender, id, again}) {
    if (id === undefined || id === null) return false;
    const key = JSON.stringify([room, sender, id]);
    const known = this.#seen.has(key);
    this.#seen.add(key);
    trim(this.#seen, MAX_SEEN);
    return known && again === true;
  }

  /** Holds the requests of a lost connection until the session is resumed, or fails them. */
  #release(transport, error = undefined) {
    for (const request of this.#pending.unanswered(transport)) {
      if (this.#canHold(request.resend)) this.#pending.hold(request);
      else this.#pending.settle(request.id, null, error ?? lossOf(request));
    }
  }

  /** How many milliseconds the server still wants to receive nothing. */
  #limitedFor() {
    return Math.max(0, this.#limitedUntil - Date.now());
  }

  #closed(transport, code, reason) {
    transport.heartbeat.stop();
    if (code === TOO_BIG && this.#isUsed(transport)) this.#pending.rejectLargest(transport); // or it would be closed again
    if (transport === this.#transport) this.#lost(code, reason);
    else if (transport === this.#next) this.#nextFailed(code);
  }

  #isFinal(code) {
    return code >= FIRST_FINAL && !(code === TOKEN_EXPIRED && this.#tokens.renewable);
  }

  #lost(code, reason, cause = undefined) {
    const replacedByNext = code === REPLACED && this.#next?.used;
    if (this.#isFinal(code) && !replacedByNext) return this.#finish(code, reason);
    const transport = this.#transport;
    this.#lastLoss = {code, reason, cause};
    this.#transport = null;
    this.#tokens.cancel();
    this.#release(transport);
    clearTimeout(this.#moveTimer);
    this.#moveTimer = 0;
    this.#prepareReady();
    if (this.#next) return this.#useNext();
    if (this.state === "open" && Date.now() - transport?.openedAt > STABLE_AFTER) this.#attempt = 0;
    const pause = this.#attempt === 0 ? Math.random() * MAX_FIRST_DELAY : backoff(this.#attempt - 1);
    const delay = pause + (code === RATE_LIMITED ? this.#limitedFor() : 0);
    this.#attempt++;
    this.state = "reconnecting";
    this.#reconnectTimer = setTimeout(() => this.#connect(), delay);
    emit(this, "reconnecting", {attempt: this.#attempt, delay, code});
  }

  #finish(code, reason, error = closed(code, reason)) {
    for (const timer of [this.#reconnectTimer, this.#moveTimer, this.#connectTimer]) clearTimeout(timer);
    this.#reconnectTimer = this.#moveTimer = this.#connectTimer = 0;
    this.#tokens.cancel();
    globalThis.removeEventListener?.("online", this.#onOnline);
    this.state = "closed";
    this.#session = new Session();
    const transports = [this.#transport, this.#next];
    this.#transport = this.#next = null;
    for (const transport of transports) {
      transport?.close(1000);
      this.#release(transport, error);
    }
    this.#ready.done = true;
    this.#ready.reject(error);
    emit(this, "close", {code, reason});
  }
}

/** A room that a client is in or joins; joining can be cancelled. */
class Membership {
  joined = false;
  sent = false; // the server may count this client as a member
  #cancelled = undefined;
  #cancellation;
  #reject;

  constructor(room, payload) {
    Object.assign(this, {room, payload, key: JSON.stringify([room, payload.peer_id])});
    this.#cancellation = new Promise((_, reject) => (this.#reject = reject));
    this.#cancellation.catch(() => {});
  }

  cancel(error) {
    this.#cancelled ??= error;
    this.#reject(error);
  }

  /** Takes a step of joining, and waits for it, unless joining is cancelled. */
  async step(take) {
    if (this.#cancelled) throw this.#cancelled;
    const result = await Promise.race([take(), this.#cancellation]);
    if (this.#cancelled) throw this.#cancelled;
    return result;
  }
}

/** A connection that is in one room at a time. */
export class RoomConnection extends Connection {
  #requests;
  #membership = null;
  #claim = null; // the last room and id of this client: the server may still count a lost connection under them

  /** @param {{join: string, leave: string}} requests the types of the requests that enter and leave a room */
  constructor(url, requests, options) {
    super(url, options);
    this.#requests = requests;
    this.addEventListener("close", ({detail: {code, reason}}) => this.#abandon(closed(code, reason)));
  }

  /** The room joined, or null. */
  get room() {
    return this.membership?.room ?? null;
  }

  /** For subclasses: the room joined, with the payload of the request that joined it; or null. */
  get membership() {
    return this.#membership?.joined ? this.#membership : null;
  }

  /** Closes for good and leaves the room; connect() opens again, without a room. */
  close() {
    this.#abandon(closed(1000, CLOSED_HERE));
    super.close();
  }

  /** Leaves the room, if there is one; the connection stays open. */
  async leave() {
    await this.#leave(this.#abandon());
  }

  /** For subclasses: forgets the room, because the server has put this client out of it. */
  forget() {
    this.#membership = null;
  }

  /**
   * For subclasses: joins a room, and leaves the previous one; connects first if necessary, and again if the connection is lost
   * before the reply.
   * @param {(joined: object) => void} use handles the reply
   */
  async enter(room, payload, use) {
    const previous = this.#abandon();
    const membership = (this.#membership = new Membership(room, payload));
    const deadline = Date.now() + ID_TAKEN_TIMEOUT;
    try {
      if (previous) await membership.step(() => this.#leave(previous));
      for (let attempt = 0; ; attempt++) {
        try {
          const joined = await this.#enterOnce(membership);
          membership.joined = true;
          this.#claim = membership.key;
          use(joined);
          return joined;
        } catch (error) {
          if (!this.#mayEnterLater(error, membership)) throw error;
          if (Date.now() > deadline) throw this.explain(error);
          await membership.step(() => sleep(idTakenDelay(attempt)));
        }
      }
    } catch (error) {
      if (this.#membership === membership) this.#membership = null;
      throw error;
    }
  }

  async #enterOnce(membership) {
    await membership.step(() => this.connectToJoin());
    return membership.step(() => {
      membership.sent = true;
      return this.request(this.#requests.join, membership.room, membership.payload, {resend: false});
    });
  }

  /** Whether joining is worth another try: the connection was lost, or the server does not know yet that the last one is. */
  #mayEnterLater({code}, membership) {
    if (code === "peer-id-taken") return this.#claim === membership.key;
    const lost = LOST_REQUEST.has(code);
    if (lost && membership.sent) this.#claim = membership.key; // it may have been carried out
    return lost;
  }

  /** Forgets the room; joining it is cancelled. */
  #abandon(error = new SignalingError("cancelled", "leave() or another join() was called before the reply to this one.")) {
    const membership = this.#membership;
    this.#membership = null;
    membership?.cancel(error);
    return membership;
  }

  async #leave(membership) {
    if (!membership?.sent || this.state !== "open") return;
    const left = await this.request(this.#requests.leave, membership.room, {}, {resend: false}).catch(() => null);
    if (left) this.#claim = null;
  }
}
