/**
 * Browser client of the signaling server: one file without dependencies, made to be copied into an application.
 *
 *   const signaling = new Signaling("wss://example.org/ws/signaling/");
 *   signaling.addEventListener("peer-joined", ({detail}) => console.log(detail.peer_id, "is here"));
 *   const {peers, ice_servers} = await signaling.join("room123", "peer123", {name: "Ada"});
 *   await signaling.signal("peer456", {hello: "world"});
 *
 * A lost connection is dialled again by itself, and goes on where it broke: what was missed comes first, what was not answered is
 * sent again, and nobody else notices. Where that cannot be, since it took too long or the server was restarted, the room is
 * joined anew: the roster that "rejoined" brings tells who has come and gone. Keep your RTCPeerConnections in either case.
 */

const REPLY_TIMEOUT = 15_000; // milliseconds
const FIRST_PAUSE = 200;
const NO_REPLY = 4002; // not 1000 or 1001, which would say that we mean to go
const TOKEN_EXPIRED = 4503; // with another token it may go on
const STABLE_AFTER = 10_000;
const LONGEST_PAUSE = 30_000;
const TAKEN_FOR = 40_000; // the server may have to find out that our old connection is dead
const TAKEN_PAUSE = 5_000;

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** How long to wait after so many attempts; random, so that the clients of a restarted server do not all come back at once. */
const backoff = (attempt) => (0.5 + Math.random() / 2) * Math.min(LONGEST_PAUSE, 500 * 2 ** attempt);

/** The same before dialling anew: the first time nearly at once. */
const pause = (attempt) => (attempt === 0 ? Math.random() * FIRST_PAUSE : backoff(attempt - 1));

/** Dispatches a CustomEvent. */
export const emit = (target, type, detail) => target.dispatchEvent(new CustomEvent(type, {detail}));

/** A refusal by the server, or the lack of a reply: `code` is "connection-lost", "timeout" or "closed" then. */
export class SignalingError extends Error {
  constructor(code, message, retryable = false, details = undefined) {
    super(message);
    Object.assign(this, {name: "SignalingError", code, retryable, details});
  }
}

/**
 * A WebSocket that speaks the envelope {type, room, payload, id}, matches replies to requests, reconnects, and goes on with its
 * session where the server still has it.
 *
 * Events: "open" (ready for requests, also after reconnecting), "reconnecting" ({attempt, delay, code}), "close" (for good:
 * {code, reason}), "error" (a SignalingError that answers no request).
 */
export class Connection extends EventTarget {
  #socket = null;
  #ready = null;
  #pending = new Map();
  #lastId = 0;
  #attempt = 0;
  #openedAt = 0;
  #timer = 0;
  #token = undefined; // with which the session is gone on with
  #delivered = 0; // the number of the last frame of the session
  #fresh = true; // whether the socket has brought no numbered frame yet
  #whole = false; // whether the session was gone on with, and nothing is missing
  #online = () => this.#hurry();
  #dialling = null; // the attempt under way, while its token is fetched
  #access; // the access token, or what gives one

  /**
   * @param {string | URL} url where the server listens, ws: or wss:
   * @param {object} [options]
   * @param {string | (() => string | Promise<string>)} [options.token] an access token, or a function that gets one: it is called
   *   for every connection, and before the token ends, so that none is interrupted
   */
  constructor(url, {token} = {}) {
    super();
    this.url = String(url);
    this.#access = token;
    /** @type {"closed" | "connecting" | "open" | "reconnecting"} */
    this.state = "closed";
  }

  /**
   * Connects, for as long as it takes.
   * @returns {Promise<void>} fulfilled when the connection is ready, rejected when it closed for good
   */
  connect() {
    if (this.state === "closed") {
      this.#attempt = 0;
      this.state = "connecting";
      globalThis.addEventListener?.("online", this.#online);
      this.#prepare();
      this.#dial();
    }
    return this.#ready.promise;
  }

  /** Closes for good; connect() opens again. */
  close() {
    if (this.state !== "closed") this.#finish(1000, "closed by this side");
  }

  /**
   * Sends one message and waits for the server's reply to it. Where the connection is lost, or is lost before the reply, that is
   * until the session has gone on; or has not, which fails with "connection-lost".
   * @param {object} [how]
   * @param {number} [how.negotiation] the offer it belongs to, where it does
   * @param {boolean} [how.lasting] false where it is of no use on another connection
   * @returns {Promise<object>} the reply's payload; rejected with a SignalingError
   */
  request(type, room, payload = {}, {negotiation, lasting = true} = {}) {
    const open = this.#socket?.readyState === WebSocket.OPEN;
    const kept = this.#keeps(lasting) && (this.state === "reconnecting" || !open);
    if (!open && !kept) return Promise.reject(this.#lostError());
    return this.#issue({type, room, payload, negotiation, lasting, kept: false}, kept);
  }

  /**
   * For subclasses: what to do on every new connection before it counts as open; may return an event to dispatch.
   * @param {(type: string, room?: string, payload?: object) => Promise<object>} _ask sends at once, on this connection alone
   */
  async restore(_ask) {}

  /** For subclasses: the fields of the request that goes on with the session; none where there is no session. */
  get session() {
    return this.#token === undefined ? {} : {resume: this.#token, received: this.#delivered};
  }

  /**
   * For subclasses: takes what the server's reply says of the session.
   * @returns {boolean} whether the session goes on and nothing is missing
   */
  greeted({resume, resumed = false, complete = false}) {
    this.#token = resume;
    this.#whole = resumed && complete;
    return this.#whole;
  }

  /** For subclasses: a message that is no reply. Unknown types must be ignored. */
  receive(_message) {}

  #prepare() {
    this.#ready = {};
    this.#ready.promise = new Promise((resolve, reject) => Object.assign(this.#ready, {resolve, reject}));
    this.#ready.promise.catch(() => {}); // nobody needs to be waiting
  }

  #issue(request, kept = false) {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, Object.assign(request, {resolve, reject}));
      if (kept) this.#keep(request);
      else this.#transmit(id, request);
    });
  }

  #transmit(id, request) {
    const socket = this.#socket;
    const {type, room, payload, negotiation} = request;
    const late = () => {
      this.#settle(id, null, new SignalingError("timeout", `No reply to ${type}.`, true));
      this.#drop(socket);
    };
    Object.assign(request, {kept: false, timer: setTimeout(late, REPLY_TIMEOUT)});
    socket.send(JSON.stringify({type, room, payload, id, negotiation}));
  }

  /** Lets a request wait for the session to go on. */
  #keep(request) {
    clearTimeout(request.timer);
    request.kept = true;
  }

  #keeps(lasting) {
    return lasting && this.#token !== undefined && this.state !== "closed";
  }

  #lostError() {
    return new SignalingError("connection-lost", "There is no connection to the server, or it was lost before the reply.", true);
  }

  /** Dials now where that is to be done anyway. */
  #hurry() {
    if (!this.#timer) return;
    clearTimeout(this.#timer);
    this.#dial();
  }

  #dial() {
    this.#timer = 0;
    if (this.#access === undefined) return this.#open([]);
    const dialling = (this.#dialling = {});
    const current = () => this.#dialling === dialling && this.state !== "closed";
    this.#getToken().then(
      (token) => current() && this.#open(["mcp-actors", `mcp-actors.token.${token}`]), // the server chooses the first
      () => current() && this.#lost(1006, "no token"),
    );
  }

  async #getToken() {
    return typeof this.#access === "function" ? this.#access() : this.#access;
  }

  /** Goes on with a new token before the old one ends; where there is none, the server closes and it is tried anew. */
  async #renew(socket) {
    if (typeof this.#access !== "function") return;
    const token = await this.#getToken().catch(() => undefined);
    if (token === undefined || socket !== this.#socket || socket.readyState !== WebSocket.OPEN) return;
    socket.send(JSON.stringify({type: "authenticate", payload: {token}}));
  }

  #open(protocols) {
    this.#fresh = true;
    const socket = new WebSocket(this.url, protocols);
    this.#socket = socket;
    setTimeout(() => socket.readyState === WebSocket.CONNECTING && socket.close(), REPLY_TIMEOUT);
    socket.onopen = () => this.#opened(socket);
    socket.onmessage = ({data}) => socket === this.#socket && this.#received(JSON.parse(data));
    socket.onclose = ({code, reason}) => socket === this.#socket && this.#lost(code, reason);
  }

  /** Gives up a connection that does not answer, though nothing has closed it, and dials anew. */
  #drop(socket) {
    if (socket !== this.#socket) return;
    socket.close(NO_REPLY);
    this.#lost(1006, "no reply");
  }

  async #opened(socket) {
    this.#openedAt = Date.now();
    const ask = (type, room, payload = {}) => {
      if (socket !== this.#socket || socket.readyState !== WebSocket.OPEN) return Promise.reject(this.#lostError());
      return this.#issue({type, room, payload, lasting: false});
    };
    for (let attempt = 0; socket === this.#socket; attempt++) {
      try {
        this.#whole = false;
        const event = await this.restore(ask);
        if (socket === this.#socket) this.#restored(event);
        return;
      } catch (error) {
        if (socket !== this.#socket) return;
        const taken = error.code === "peer-id-taken" && Date.now() - this.#openedAt < TAKEN_FOR;
        if (!error.retryable && !taken) return this.#finish(4500, error.code ?? "failed", error);
        await sleep(taken ? Math.min(backoff(attempt), TAKEN_PAUSE) : backoff(attempt));
      }
    }
  }

  #restored(event) {
    this.state = "open";
    for (const [id, request] of [...this.#pending]) {
      if (!request.kept) continue;
      if (this.#whole) this.#transmit(id, request);
      else this.#settle(id, null, this.#lostError());
    }
    this.#ready.resolve();
    emit(this, "open");
    if (event) this.dispatchEvent(event);
  }

  #received(message) {
    const {delivery, type, id, sender, payload = {}} = message;
    if (delivery !== undefined && !this.#isNew(delivery)) return;
    const {code, message: text, retryable, details} = payload;
    const error = type === "error" ? new SignalingError(code, text, retryable, details) : null;
    // A relayed message may carry its sender's own id: only what has no sender can be a reply to us.
    if (sender === undefined && this.#settle(id, payload, error)) return;
    if (error) emit(this, "error", error);
    else if (type === "token-expiring") this.#renew(this.#socket);
    else this.receive(message);
  }

  /** Whether a frame of this number was not handled before. */
  #isNew(delivery) {
    // The server sends nothing up to the number we named again: a connection that begins with 1 begins another session.
    if (this.#fresh && delivery === 1) this.#delivered = 0;
    this.#fresh = false;
    if (delivery <= this.#delivered) return false;
    this.#delivered = delivery;
    return true;
  }

  #settle(id, payload, error) {
    const request = this.#pending.get(id);
    if (!request) return false;
    this.#pending.delete(id);
    clearTimeout(request.timer);
    if (error) request.reject(error);
    else request.resolve(payload);
    return true;
  }

  /** Has no connection any more; requests that may go on with the session wait for it. */
  #abandon() {
    this.#socket = null;
    for (const [id, request] of [...this.#pending]) {
      if (this.#keeps(request.lasting)) this.#keep(request);
      else this.#settle(id, null, this.#lostError());
    }
  }

  #lost(code, reason) {
    const renewable = code === TOKEN_EXPIRED && typeof this.#access === "function";
    if (code >= 4500 && !renewable) return this.#finish(code, reason);
    this.#abandon();
    if (this.state === "open") this.#prepare();
    if (this.state === "open" && Date.now() - this.#openedAt > STABLE_AFTER) this.#attempt = 0;
    const delay = pause(this.#attempt++);
    this.state = "reconnecting";
    this.#timer = setTimeout(() => this.#dial(), delay);
    emit(this, "reconnecting", {attempt: this.#attempt, delay, code});
  }

  #finish(code, reason, error = new SignalingError("closed", `The connection is closed: ${reason || code}.`)) {
    clearTimeout(this.#timer);
    this.#timer = 0;
    globalThis.removeEventListener?.("online", this.#online);
    this.#socket?.close(1000);
    this.state = "closed";
    this.#token = undefined;
    this.#abandon();
    this.#ready.reject(error);
    emit(this, "close", {code, reason});
  }
}

/**
 * One peer in one room of /ws/signaling/.
 *
 * Events, each with the message's payload as `detail`: "peer-joined" {peer_id, metadata, order}, "peer-left" {peer_id, reason};
 * with `sender` added: "offer" {offer}, "answer" {answer}, "ice-candidate" {candidate}, "signal" {data}. After a reconnect in
 * which something was missed "rejoined" brings the `joined` payload with the new roster. The connection's own events are
 * Connection's; what was missed and is made up for comes before "open".
 *
 * The server numbers the offers between two peers. Offers, and what belongs to one, have its number as `negotiation`; it is
 * put on answers and candidates by itself, so that the server refuses ("stale-negotiation") what a newer offer has overtaken.
 */
export class Signaling extends Connection {
  static #EVENTS = new Set(["peer-joined", "peer-left", "offer", "answer", "ice-candidate", "signal"]);
  #membership = null;
  #heard = new Map(); // by peer, the number of its last offer
  #current = new Map(); // by peer, that of the offer our candidates belong to; unknown until our offer is acknowledged

  /** The room joined, or null. */
  get room() {
    return this.#membership?.room ?? null;
  }

  /**
   * Joins a room, connecting first where needed; a room joined before is left.
   * @param {string} peerId unique in the room
   * @param {object} [metadata] told to everybody in the room
   * @returns {Promise<{peer_id: string, order: number, peers: object[], ice_servers: RTCIceServer[]}>} peers: oneself too
   */
  async join(room, peerId, metadata = undefined) {
    await this.leave();
    await this.connect();
    this.#forget();
    const membership = {room, payload: {peer_id: peerId, metadata}};
    const joined = await this.request("join", room, membership.payload, {lasting: false});
    this.greeted(joined);
    this.#membership = membership;
    return joined;
  }

  /** Leaves the room; the connection stays open. Fulfilled also where there is nothing to leave. */
  async leave() {
    const room = this.room;
    this.#membership = null;
    if (room !== null && this.state === "open") await this.request("leave", room, {}, {lasting: false}).catch(() => {});
  }

  /** What the next rejoining tells about us; those already in the room do not hear of it. */
  set metadata(metadata) {
    if (this.#membership) this.#membership.payload.metadata = metadata;
  }

  /** Sends an RTCSessionDescription to a peer; fulfilled with the ack, or rejected, with "peer-not-found" say. */
  offer = async (target, offer) => {
    const current = {};
    this.#current.set(target, current);
    const ack = await this.#send("offer", target, {offer});
    current.negotiation = ack.negotiation;
    return ack;
  };
  /** The same, to the peer's last offer; to an earlier one, name the `negotiation` it came with. */
  answer = (target, answer, negotiation = this.#heard.get(target)) => {
    this.#current.set(target, {negotiation});
    return this.#send("answer", target, {answer}, negotiation);
  };
  /** The same for an RTCIceCandidate; null says that there are no more. It belongs to the description we sent last. */
  candidate = (target, candidate) => this.#send("ice-candidate", target, {candidate}, this.#current.get(target)?.negotiation);
  /** The same for any JSON value. */
  signal = (target, data) => this.#send("signal", target, {data});

  #send(type, target, payload, negotiation) {
    return this.request(type, this.room ?? "", {target_peer_id: target, ...payload}, {negotiation});
  }

  /** Numbers begin anew with each join, ours or the peer's. */
  #forget(peer = undefined) {
    for (const numbers of [this.#heard, this.#current]) {
      if (peer === undefined) numbers.clear();
      else numbers.delete(peer);
    }
  }

  async restore(ask) {
    const membership = this.#membership;
    if (!membership) {
      this.greeted({}); // a session without a room does not wait
      return undefined;
    }
    const joined = await ask("join", membership.room, {...membership.payload, ...this.session});
    const whole = this.greeted(joined);
    if (membership !== this.#membership) {
      await ask("leave", membership.room); // it was left meanwhile
      return undefined;
    }
    if (!joined.resumed) this.#forget();
    return whole ? undefined : new CustomEvent("rejoined", {detail: joined});
  }

  receive({type, room, sender, payload, negotiation}) {
    if (room !== this.room || !Signaling.#EVENTS.has(type)) return;
    if (type === "offer") this.#heard.set(sender, negotiation);
    if (type === "peer-left") this.#forget(payload.peer_id);
    emit(this, type, sender === undefined ? payload : {...payload, sender, negotiation: negotiation ?? undefined});
  }
}
