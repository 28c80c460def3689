/**
 * Browser client of the signaling server: one file without dependencies, made to be copied into an application.
 *
 *   const signaling = new Signaling("wss://example.org/ws/signaling/");
 *   signaling.addEventListener("peer-joined", ({detail}) => console.log(detail.peer_id, "is here"));
 *   const {peers, ice_servers} = await signaling.join("room123", "peer123", {name: "Ada"});
 *   await signaling.signal("peer456", {hello: "world"});
 *
 * A lost connection is dialled again, and the room joined again, by itself. Keep your RTCPeerConnections meanwhile: they do not
 * need it. The roster that "rejoined" brings tells who has come and gone.
 */

const REPLY_TIMEOUT = 15_000; // milliseconds
const STABLE_AFTER = 10_000;
const LONGEST_PAUSE = 30_000;
const TAKEN_FOR = 40_000; // the server may have to find out that our old connection is dead
const TAKEN_PAUSE = 5_000;

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** How long to wait after so many attempts; random, so that the clients of a restarted server do not all come back at once. */
const backoff = (attempt) => (0.5 + Math.random() / 2) * Math.min(LONGEST_PAUSE, 500 * 2 ** attempt);

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
 * A WebSocket that speaks the envelope {type, room, payload, id}, matches replies to requests and reconnects.
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

  /** @param {string | URL} url where the server listens, ws: or wss: */
  constructor(url) {
    super();
    this.url = String(url);
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
   * Sends one message and waits for the server's reply to it.
   * @returns {Promise<object>} the reply's payload; rejected with a SignalingError
   */
  request(type, room, payload = {}) {
    if (this.#socket?.readyState !== WebSocket.OPEN) {
      return Promise.reject(new SignalingError("connection-lost", "Not connected to the server.", true));
    }
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      const socket = this.#socket;
      const late = () => {
        this.#settle(id, null, new SignalingError("timeout", `No reply to ${type}.`, true));
        this.#drop(socket);
      };
      this.#pending.set(id, {resolve, reject, timer: setTimeout(late, REPLY_TIMEOUT)});
      this.#socket.send(JSON.stringify({type, room, payload, id}));
    });
  }

  /** For subclasses: what to do on every new connection before it counts as open; may return an event to dispatch. */
  async restore() {}

  /** For subclasses: a message that is no reply. Unknown types must be ignored. */
  receive(_message) {}

  #prepare() {
    this.#ready = {};
    this.#ready.promise = new Promise((resolve, reject) => Object.assign(this.#ready, {resolve, reject}));
    this.#ready.promise.catch(() => {}); // nobody needs to be waiting
  }

  #dial() {
    const socket = new WebSocket(this.url);
    this.#socket = socket;
    setTimeout(() => socket.readyState === WebSocket.CONNECTING && socket.close(), REPLY_TIMEOUT);
    socket.onopen = () => this.#opened(socket);
    socket.onmessage = ({data}) => socket === this.#socket && this.#received(JSON.parse(data));
    socket.onclose = ({code, reason}) => socket === this.#socket && this.#lost(code, reason);
  }

  /** Gives up a connection that does not answer, though nothing has closed it, and dials anew. */
  #drop(socket) {
    if (socket !== this.#socket) return;
    socket.close();
    this.#lost(1006, "no reply");
  }

  async #opened(socket) {
    this.#openedAt = Date.now();
    for (let attempt = 0; socket === this.#socket; attempt++) {
      try {
        const event = await this.restore();
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
    this.#ready.resolve();
    emit(this, "open");
    if (event) this.dispatchEvent(event);
  }

  #received(message) {
    const {type, id, sender, payload = {}} = message;
    const {code, message: text, retryable, details} = payload;
    const error = type === "error" ? new SignalingError(code, text, retryable, details) : null;
    // A relayed message may carry its sender's own id: only what has no sender can be a reply to us.
    if (sender === undefined && this.#settle(id, payload, error)) return;
    if (error) emit(this, "error", error);
    else this.receive(message);
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

  #abandon() {
    this.#socket = null;
    const error = new SignalingError("connection-lost", "The connection was lost before the reply came.", true);
    for (const id of [...this.#pending.keys()]) this.#settle(id, null, error);
  }

  #lost(code, reason) {
    if (code >= 4500) return this.#finish(code, reason);
    this.#abandon();
    if (this.state === "open") this.#prepare();
    if (this.state === "open" && Date.now() - this.#openedAt > STABLE_AFTER) this.#attempt = 0;
    const delay = backoff(this.#attempt++);
    this.state = "reconnecting";
    this.#timer = setTimeout(() => this.#dial(), delay);
    emit(this, "reconnecting", {attempt: this.#attempt, delay, code});
  }

  #finish(code, reason, error = new SignalingError("closed", `The connection is closed: ${reason || code}.`)) {
    clearTimeout(this.#timer);
    this.#socket?.close(1000);
    this.#abandon();
    this.state = "closed";
    this.#ready.reject(error);
    emit(this, "close", {code, reason});
  }
}

/**
 * One peer in one room of /ws/signaling/.
 *
 * Events, each with the message's payload as `detail`: "peer-joined" {peer_id, metadata, order}, "peer-left" {peer_id, reason};
 * with `sender` added: "offer" {offer}, "answer" {answer}, "ice-candidate" {candidate}, "signal" {data}. After a reconnect
 * "rejoined" brings the `joined` payload with the new roster. The connection's own events are Connection's.
 */
export class Signaling extends Connection {
  static #EVENTS = new Set(["peer-joined", "peer-left", "offer", "answer", "ice-candidate", "signal"]);
  #membership = null;

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
    const membership = {room, payload: {peer_id: peerId, metadata}};
    const joined = await this.request("join", room, membership.payload);
    this.#membership = membership;
    return joined;
  }

  /** Leaves the room; the connection stays open. Fulfilled also where there is nothing to leave. */
  async leave() {
    const room = this.room;
    this.#membership = null;
    if (room !== null) await this.request("leave", room).catch(() => {});
  }

  /** What the next rejoining tells about us; those already in the room do not hear of it. */
  set metadata(metadata) {
    if (this.#membership) this.#membership.payload.metadata = metadata;
  }

  /** Sends an RTCSessionDescription to a peer; fulfilled with the ack, or rejected, with "peer-not-found" say. */
  offer = (target, offer) => this.#send("offer", target, {offer});
  /** The same. */
  answer = (target, answer) => this.#send("answer", target, {answer});
  /** The same for an RTCIceCandidate; null says that there are no more. */
  candidate = (target, candidate) => this.#send("ice-candidate", target, {candidate});
  /** The same for any JSON value. */
  signal = (target, data) => this.#send("signal", target, {data});

  #send(type, target, payload) {
    return this.request(type, this.room ?? "", {target_peer_id: target, ...payload});
  }

  async restore() {
    const membership = this.#membership;
    if (!membership) return undefined;
    const joined = await this.request("join", membership.room, membership.payload);
    return membership === this.#membership ? new CustomEvent("rejoined", {detail: joined}) : undefined;
  }

  receive({type, room, sender, payload}) {
    if (room === this.room && Signaling.#EVENTS.has(type)) emit(this, type, sender === undefined ? payload : {...payload, sender});
  }
}
