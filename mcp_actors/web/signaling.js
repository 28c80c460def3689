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
 *
 * A server process that is about to stop asks to be left: the next connection is made while the last one still serves.
 */

const REPLY_TIMEOUT = 15_000; // milliseconds
const FIRST_PAUSE = 200;
const ANEW = 4002; // not 1000 or 1001, which would say that we mean to go
const FIRST_FINAL = 4500; // of the close codes: from here on reconnecting is of no use
const REPLACED = 4501;
const TOKEN_EXPIRED = 4503; // with another token it may go on
const RATE_LIMITED = 4004; // to be dialled again, but not before the server said
const STABLE_AFTER = 10_000;
const LONGEST_PAUSE = 30_000;
const TAKEN_FOR = 40_000; // the server may have to find out that our old connection is dead
const TAKEN_PAUSE = 5_000;
const MOST_PLACES = 64;
const MOST_REMEMBERED = 1024;
const REPEATABLE = new Set(["offer", "answer", "ice-candidate", "signal", "message", "kick", "lock", "unlock", "close-room"]);

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** How long to wait after so many attempts; random, so that the clients of a restarted server do not all come back at once. */
const backoff = (attempt) => (0.5 + Math.random() / 2) * Math.min(LONGEST_PAUSE, 500 * 2 ** attempt);

/** The same before dialling anew: the first time nearly at once. */
const pause = (attempt) => (attempt === 0 ? Math.random() * FIRST_PAUSE : backoff(attempt - 1));

/** What goes on over several sockets: its token, the number of its last frame, and by room the last `at`. */
const newSession = (token = undefined) => ({token, delivered: 0, places: new Map()});

/** Keeps a map or set that others fill at so many entries, the latest. */
const bound = (entries, most) => entries.size > most && entries.delete(entries.keys().next().value);

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
  #line = null; // the socket in use, or dialled to be, and what we know of it
  #next = null; // the one that is to take over from it
  #session = newSession();
  #restoring = null; // the line on which restore() works
  #ready = null;
  #pending = new Map();
  #lastId = Math.floor(Math.random() * 2 ** 52); // with `sender` it tells messages apart, whichever tab or page sent them
  #got = new Set(); // which messages of others
  #attempt = 0;
  #openedAt = 0;
  #timer = 0;
  #moves = 0;
  #moveTimer = 0;
  #mayGoOnAt = 0; // when the server told last that we send too much
  #online = () => this.#hurry();
  #dialling = null; // the attempt to connect for which a token is being fetched
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
    const open = this.#line?.socket.readyState === WebSocket.OPEN;
    const kept = this.#keeps(lasting) && !(open && this.#line.ready);
    if (!open && !kept) return Promise.reject(this.#lostError());
    return this.#issue({type, room, payload, negotiation, lasting, kept: false}, kept);
  }

  /**
   * For subclasses: what to do on every new connection before it counts as open; may return an event to dispatch.
   * @param {(type: string, room?: string, payload?: object) => Promise<object>} _ask sends at once, on this connection alone
   */
  async restore(_ask) {}

  /** For subclasses: the fields of the request that goes on with the session; none where there is no session. */
  resuming() {
    const {token, delivered, places} = this.#session;
    return token === undefined ? {} : {resume: token, received: delivered, at: Object.fromEntries(places)};
  }

  /**
   * For subclasses: takes what the server's reply says of the session.
   * @returns {boolean} whether the session goes on and nothing is missing
   */
  greeted({resume, resumed = false, complete = false}) {
    const line = this.#restoring ?? this.#line;
    line.session.token = resume;
    line.whole = resumed && complete;
    return line.whole;
  }

  /** For subclasses: connects to begin something new, which a server that has asked us to go refuses. */
  renewed() {
    if (this.#moveTimer || this.#next) this.#renew();
    return this.connect();
  }

  /** For subclasses: a message that is no reply. Unknown types must be ignored. */
  receive(_message) {}

  #prepare() {
    if (this.#ready && !this.#ready.done) return;
    this.#ready = {done: false};
    this.#ready.promise = new Promise((resolve, reject) => Object.assign(this.#ready, {resolve, reject}));
    this.#ready.promise.catch(() => {}); // nobody needs to be waiting
  }

  #issue(request, kept = false, line = this.#line) {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, Object.assign(request, {resolve, reject}));
      if (kept) this.#keep(request);
      else this.#transmit(id, request, line);
    });
  }

  #transmit(id, request, line) {
    const {type, room, payload, negotiation} = request;
    const again = (request.line !== undefined && REPEATABLE.has(type)) || undefined;
    const late = () => {
      this.#settle(id, null, new SignalingError("timeout", `No reply to ${type}.`, true));
      this.#drop(line);
    };
    Object.assign(request, {line, kept: false, timer: setTimeout(late, REPLY_TIMEOUT)});
    const text = JSON.stringify({type, room, payload, id, negotiation, again});
    if (line.socket.readyState < WebSocket.CLOSING) line.socket.send(text); // else its end, which comes, tells what is lost
  }

  /** Lets a request wait for the session to go on. */
  #keep(request) {
    clearTimeout(request.timer);
    request.kept = true;
  }

  #keeps(lasting) {
    return lasting && this.#session.token !== undefined && this.state !== "closed";
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
    this.#fetchProtocols(
      (protocols) => (this.#line = this.#open(protocols)),
      () => this.#lost(1006, "no token"),
    );
  }

  /** Hands on what to bring our access token with, unless the connection was lost or closed while that was fetched. */
  #fetchProtocols(use, fail) {
    if (this.#access === undefined) return use([]);
    const dialling = (this.#dialling = {});
    const ifCurrent = (then) => (token) => {
      if (this.#dialling !== dialling) return;
      this.#dialling = null;
      then(token);
    };
    this.#getToken().then(
      ifCurrent((token) => use(["mcp-actors", `mcp-actors.token.${token}`])), // the server chooses the first
      ifCurrent(fail),
    );
  }

  async #getToken() {
    return typeof this.#access === "function" ? this.#access() : this.#access;
  }

  /** Goes on with a new token before the old one ends; where there is none, the server closes and it is tried anew. */
  async #authenticate(line) {
    if (typeof this.#access !== "function") return;
    const token = await this.#getToken().catch(() => undefined);
    if (token === undefined || !this.#uses(line) || line.socket.readyState !== WebSocket.OPEN) return;
    line.socket.send(JSON.stringify({type: "authenticate", payload: {token}}));
  }

  #open(protocols) {
    const socket = new WebSocket(this.url, protocols);
    // fresh: it has brought no numbered frame yet; asked: the server has heard of us; ready: restored; whole: nothing is missing
    const line = {socket, session: this.#session, fresh: true, asked: false, ready: false, whole: false, openedAt: 0};
    setTimeout(() => socket.readyState === WebSocket.CONNECTING && socket.close(), REPLY_TIMEOUT);
    socket.onopen = () => this.#opened(line);
    socket.onmessage = ({data}) => this.#uses(line) && this.#received(line, JSON.parse(data));
    socket.onclose = ({code, reason}) => this.#closed(line, code, reason);
    return line;
  }

  #uses(line) {
    return line === this.#line || line === this.#next;
  }

  /** Gives up a connection that does not answer, though nothing has closed it. */
  #drop(line) {
    if (!this.#uses(line)) return;
    line.socket.close(ANEW);
    this.#closed(line, 1006, "no reply");
  }

  async #opened(line) {
    line.openedAt = Date.now();
    if (line === this.#line) this.#openedAt = line.openedAt;
    const ask = (type, room, payload = {}) => {
      if (!this.#uses(line) || line.socket.readyState !== WebSocket.OPEN) return Promise.reject(this.#lostError());
      line.asked = true;
      return this.#issue({type, room, payload, lasting: false}, false, line);
    };
    for (let attempt = 0; this.#uses(line); attempt++) {
      try {
        const event = await this.#restore(line, ask);
        if (this.#uses(line)) this.#restored(line, event);
        return;
      } catch (error) {
        if (!this.#uses(line)) return;
        const taken = error.code === "peer-id-taken" && Date.now() - line.openedAt < TAKEN_FOR;
        if (!error.retryable && !taken) return this.#refused(line, error);
        await sleep(taken ? Math.min(backoff(attempt), TAKEN_PAUSE) : Math.max(backoff(attempt), this.#rest()));
      }
    }
  }

  async #restore(line, ask) {
    line.whole = false;
    this.#restoring = line;
    try {
      return await this.restore(ask);
    } finally {
      if (this.#restoring === line) this.#restoring = null;
    }
  }

  #refused(line, error) {
    if (line === this.#line) return this.#finish(FIRST_FINAL, error.code ?? "failed", error);
    line.socket.close(1000);
    this.#missed(FIRST_FINAL);
  }

  #restored(line, event) {
    const noticed = this.state !== "open";
    if (line === this.#next) this.#takeOver();
    line.ready = true;
    this.state = "open";
    for (const [id, request] of [...this.#pending]) {
      if (!request.kept) continue;
      if (line.whole) this.#transmit(id, request, line);
      else this.#settle(id, null, this.#lostError());
    }
    this.#ready.done = true;
    this.#ready.resolve();
    if (noticed) emit(this, "open");
    if (event) this.dispatchEvent(event);
    if (line.after !== undefined) this.#depart(line, line.after);
  }

  // ------------------------------------------------------------------------------------------------------------- moving

  /** The server asks us to go, in so many milliseconds; until we have gone, the line is used as ever. */
  #depart(line, after) {
    line.after = after; // where it is the next one, until it is in use
    if (line !== this.#line || this.#next || this.#moveTimer) return;
    this.#moves = 0;
    this.#moveTimer = setTimeout(() => this.#move(), after);
  }

  #move() {
    if (this.#session.token === undefined || !this.#line.ready) return this.#renew(); // our id is free when this line has gone
    this.#fetchProtocols(
      (protocols) => {
        this.#moveTimer = 0; // until here it says that we are to go
        this.#next = this.#open(protocols);
      },
      () => this.#moveLater(),
    );
  }

  /** The next line serves from now on. What the old one may not have brought to the server is sent again. */
  #takeOver() {
    const old = this.#line;
    this.#abandon(old);
    this.#use(this.#next);
    old.socket.close(1000); // where the session goes on, the server has closed it already
  }

  #use(line) {
    this.#line = line;
    this.#next = null;
    this.#session = line.session;
  }

  /** The next line has come to nothing; the one in use still serves. */
  #missed(code) {
    const line = this.#next;
    this.#next = null;
    this.#abandon(line);
    if (!this.#isFinal(code)) this.#moveLater();
  }

  #moveLater() {
    this.#moveTimer = setTimeout(() => this.#move(), backoff(this.#moves++));
  }

  /** Goes to a new connection without waiting for it. */
  #renew() {
    const lines = [this.#line, this.#next];
    if (this.#next) this.#missed(FIRST_FINAL);
    this.#lost(1012, "asked to go");
    for (const line of lines) line?.socket.close(ANEW);
  }

  // ---------------------------------------------------------------------------------------------------------- receiving

  #received(line, message) {
    const {delivery, type, room, id, sender, at, payload = {}} = message;
    if (delivery !== undefined && !this.#isNew(line, delivery)) return;
    if (at !== undefined) this.#keepPlace(line, room, at);
    const {code, message: text, retryable, details} = payload;
    const error = type === "error" ? new SignalingError(code, text, retryable, details) : null;
    if (error?.code === "rate-limited") this.#mayGoOnAt = Date.now() + (details?.retry_after_ms ?? 0);
    // A relayed message may carry its sender's own id: only what has no sender can be a reply to us.
    if (sender === undefined && this.#settle(id, payload, error)) return;
    if (error) emit(this, "error", error);
    else if (type === "token-expiring") this.#authenticate(line);
    else if (type === "reconnect") this.#depart(line, payload.after_ms);
    else if (sender === undefined || !this.#isDouble(message)) this.receive(message);
  }

  /** Whether a frame of this number was not handled before, on whichever line it comes. */
  #isNew(line, delivery) {
    // The server sends nothing up to the number we named again: a connection that begins with 1 begins another session.
    if (line.fresh && delivery === 1) {
      line.session = newSession(line.session.token);
      if (line === this.#line) this.#session = line.session;
    }
    line.fresh = false;
    if (delivery <= line.session.delivered) return false;
    line.session.delivered = delivery;
    return true;
  }

  #keepPlace({session: {places}}, room, at) {
    places.delete(room);
    places.set(room, at);
    bound(places, MOST_PLACES);
  }

  /** Whether its sender has sent it again, not knowing that it had come through: to a server process that was lost since. */
  #isDouble({room, sender, id, again}) {
    if (id === undefined || id === null) return false;
    const key = JSON.stringify([room, sender, id]);
    const known = this.#got.has(key);
    this.#got.add(key);
    bound(this.#got, MOST_REMEMBERED);
    return known && again === true;
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

  // ------------------------------------------------------------------------------------------------------------- losing

  /** This line is of no use any more; requests that may go on with the session wait for it, the others fail. */
  #abandon(line, error = this.#lostError()) {
    for (const [id, request] of [...this.#pending]) {
      if (request.line !== line && !request.kept) continue;
      if (this.#keeps(request.lasting)) this.#keep(request);
      else this.#settle(id, null, error);
    }
  }

  /** How long the server wants to hear nothing of us. */
  #rest() {
    return Math.max(0, this.#mayGoOnAt - Date.now());
  }

  #closed(line, code, reason) {
    if (line === this.#line) this.#lost(code, reason);
    else if (line === this.#next) this.#missed(code);
  }

  /** Whether reconnecting is of no use; when a token has ended, it is where we can get another. */
  #isFinal(code) {
    return code >= FIRST_FINAL && !(code === TOKEN_EXPIRED && typeof this.#access === "function");
  }

  #lost(code, reason) {
    const byOurselves = code === REPLACED && this.#next?.asked;
    if (this.#isFinal(code) && !byOurselves) return this.#finish(code, reason);
    const line = this.#line;
    this.#line = null;
    this.#dialling = null;
    this.#abandon(line);
    clearTimeout(this.#moveTimer);
    this.#moveTimer = 0;
    this.#prepare();
    if (this.#next) return this.#use(this.#next); // it is on its way
    if (this.state === "open" && Date.now() - this.#openedAt > STABLE_AFTER) this.#attempt = 0;
    const delay = pause(this.#attempt++) + (code === RATE_LIMITED ? this.#rest() : 0);
    this.state = "reconnecting";
    this.#timer = setTimeout(() => this.#dial(), delay);
    emit(this, "reconnecting", {attempt: this.#attempt, delay, code});
  }

  #finish(code, reason, error = new SignalingError("closed", `The connection is closed: ${reason || code}.`)) {
    clearTimeout(this.#timer);
    clearTimeout(this.#moveTimer);
    this.#timer = this.#moveTimer = 0;
    this.#dialling = null;
    globalThis.removeEventListener?.("online", this.#online);
    this.state = "closed";
    this.#session = newSession();
    const lines = [this.#line, this.#next];
    this.#line = this.#next = null;
    for (const line of lines) {
      line?.socket.close(1000);
      this.#abandon(line, error);
    }
    this.#ready.done = true;
    this.#ready.reject(error);
    emit(this, "close", {code, reason});
  }
}

/**
 * One peer in one room of /ws/signaling/.
 *
 * Events, each with the message's payload as `detail`: "peer-joined" {peer_id, metadata, order}, "peer-left" {peer_id, reason};
 * with `sender` added: "offer" {offer}, "answer" {answer}, "ice-candidate" {candidate}, "signal" {data}. Of moderators: "locked"
 * {locked}, when the room is locked or unlocked; "kicked" {peer_id} or "room-closed" {}, and we are out: "close" follows.
 * After a reconnect in which something was missed "rejoined" brings the `joined` payload with the new roster. The connection's
 * own events are Connection's; what was missed and is made up for comes before "open".
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
    await this.renewed();
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

  /** A moderator has put us out: there is no room to go back to. */
  #putOut(type, payload) {
    this.#membership = null;
    this.#forget();
    emit(this, type, payload);
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
    const joined = await ask("join", membership.room, {...membership.payload, ...this.resuming()});
    const whole = this.greeted(joined);
    if (membership !== this.#membership) {
      await ask("leave", membership.room); // it was left meanwhile
      return undefined;
    }
    if (!joined.resumed) this.#forget();
    return whole ? undefined : new CustomEvent("rejoined", {detail: joined});
  }

  receive({type, room, sender, payload = {}, negotiation}) {
    if (room !== this.room) return;
    if (type === "room-locked" || type === "room-unlocked") emit(this, "locked", {locked: type === "room-locked"});
    if (type === "kicked" || type === "room-closed") this.#putOut(type, payload);
    if (!Signaling.#EVENTS.has(type)) return;
    if (type === "offer") this.#heard.set(sender, negotiation);
    if (type === "peer-left") this.#forget(payload.peer_id);
    emit(this, type, sender === undefined ? payload : {...payload, sender, negotiation: negotiation ?? undefined});
  }
}
