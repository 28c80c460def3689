/** Joins rooms over one connection, and joins them again on the next. */

import {endpointUrl} from "./address.js";
import {Backoff, sleep, unlessAborted} from "./backoff.js";
import {LOST_CODES, SignalingError, errorOf} from "./errors.js";
import {TypedEventTarget, emit} from "./events.js";
import {PersistentLink} from "./persistent-link.js";
import {TokenSource} from "./tokens.js";

/** @import {BaseRoom} from "./base-room.js" */
/** @import {Link} from "./link.js" */
/** @import {Message} from "./messages.js" */
/** @import {State} from "./persistent-link.js" */
/** @import {Reply} from "./requests.js" */
/** @import {Token} from "./tokens.js" */

// Durations are in milliseconds.
const CONNECT_TIMEOUT = 30_000;
const ID_TAKEN_TIMEOUT = 70_000; // the server notices the end of a lost connection, and keeps its id for whoever resumes
const FIRST_DELAY = 250;
const MAX_DELAY = 5_000;

/**
 * `token`: an access token, or a function that returns one: it is called for every connection, and before a token expires, so
 * that the connection is not interrupted. `connectTimeout`: how long connect() and join() wait for a connection, in
 * milliseconds. `WebSocket`: in place of the global one.
 * @typedef {{token?: Token, connectTimeout?: number, WebSocket?: typeof WebSocket}} ConnectionOptions
 */

/**
 * The events of a connection. "open": rooms can be joined, also after reconnecting. "close": for good; `code` and `reason` are
 * those of the WebSocket. "error": of the server, and not the answer to a request.
 * @typedef {object} ConnectionEvents
 * @property {null} open
 * @property {{attempt: number, delay: number, code: number}} reconnecting
 * @property {{code: number, reason: string}} close
 * @property {SignalingError} error
 */

/**
 * What a kind of client does on a new link: it begins without rooms; or resumes the session and its rooms, or joins them again.
 * @typedef {object} Kind
 * @property {(link: Link) => Promise<unknown>} begin
 * @property {(link: Link, rooms: BaseRoom<object>[]) => Promise<unknown>} resume
 */

/** @param {BaseRoom<object>} room */
const claimOf = (room) => JSON.stringify([room.name, room.payload["peer_id"]]);

/**
 * Tries until it succeeds, for as long as the server may take to notice the end of a lost connection.
 * @template Value
 * @param {() => Promise<Value>} attempt
 * @param {(error: unknown) => unknown} mayTryLater
 * @param {AbortSignal} [signal]
 * @returns {Promise<Value>}
 */
async function persist(attempt, mayTryLater, signal) {
  const deadline = performance.now() + ID_TAKEN_TIMEOUT;
  const backoff = new Backoff(FIRST_DELAY, MAX_DELAY);
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (!mayTryLater(error) || performance.now() > deadline) throw error;
      backoff.rest(error);
    }
    await unlessAborted(sleep(backoff.next(FIRST_DELAY)), signal);
  }
}

/**
 * A connection to an endpoint of the server, and the rooms joined on it.
 *
 * When the connection is lost, also without a sign, it connects again, at any process of the server, and continues its session:
 * missed messages come first, unanswered requests are sent again, and the others notice nothing. If the session is over, it joins
 * its rooms again, and each room has an event "rejoined". Keep your RTCPeerConnections in both cases.
 * @template {BaseRoom<object>} RoomType
 * @extends {TypedEventTarget<ConnectionEvents>}
 */
export class Client extends TypedEventTarget {
  /** @internal */
  line;
  /** @type {Map<string, RoomType>} */
  #rooms = new Map();
  /** @type {Map<RoomType, AbortController>} */
  #joining = new Map();
  /** Rooms left while there was no connection. @type {BaseRoom<object>[]} */
  #left = [];
  /** Rooms and ids of this client: the server may still count a lost connection under them. @type {Set<string>} */
  #claims = new Set();
  #requests;
  /** Of the endpoint, and of the room that was entered last: a server may bring its members to one process. */
  #url;

  /**
   * @param {string | URL} url
   * @param {string} path of the endpoint
   * @param {{join: string, leave: string}} requests the types of those that enter and leave a room
   * @param {ConnectionOptions} options
   * @internal
   */
  constructor(url, path, requests, {token, connectTimeout = CONNECT_TIMEOUT, WebSocket = globalThis.WebSocket}) {
    super();
    this.#requests = requests;
    this.#url = endpointUrl(url, path);
    const options = {url: this.#url, tokens: new TokenSource(token), connectTimeout, WebSocket};
    this.line = new PersistentLink(options, {
      restore: (link) => this.#restore(link),
      receive: (message) => this.#receive(message),
      tell: (type, detail) => emit(this, type, detail),
      closed: (error) => this.#abandon(error),
    });
  }

  /** "closed" before the first connect() or join(), too. @returns {State} */
  get state() {
    return this.line.state;
  }

  /** The rooms joined, by their names. @returns {ReadonlyMap<string, RoomType>} */
  get rooms() {
    return new Map([...this.#rooms].filter(([, room]) => room.joined));
  }

  /**
   * Connects. Once connected, it reconnects for as long as it takes.
   * @param {{signal?: AbortSignal}} [options]
   * @returns {Promise<void>} rejected with a SignalingError if there is no connection in time, or it is closed for good; or with
   *   the reason of the signal
   */
  async connect({signal} = {}) {
    await this.line.ready(signal);
  }

  /** Tries now what would be tried after a pause. Browsers tell when they are online again; this is for other reasons. */
  reconnect() {
    this.line.hurry();
  }

  /** Leaves all rooms, and closes the connection for good: connect() and join() fail from now on. */
  close() {
    this.line.close();
  }

  /**
   * The client is not in the room any more.
   * @param {BaseRoom<object>} room
   * @internal
   */
  forget(room) {
    if (this.#rooms.get(room.name) === room) this.#rooms.delete(room.name);
  }

  /**
   * Leaves a room. If there is no connection, the server is told on the next.
   * @param {BaseRoom<object>} room
   * @internal
   */
  async leave(room) {
    if (this.#rooms.get(room.name) !== room) return;
    room.end({code: "left"});
    await this.#tellOfLeaving(room);
  }

  /**
   * Joins a room.
   * @param {RoomType} room
   * @param {AbortSignal} [signal]
   * @returns {Promise<RoomType>}
   * @internal
   */
  async enter(room, signal) {
    signal?.throwIfAborted();
    if (this.#rooms.has(room.name)) {
      throw new SignalingError("already-in-room", `The room ${room.name} is joined already.`);
    }
    const stop = new AbortController();
    const stopped = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal;
    this.#rooms.set(room.name, room);
    this.#url.searchParams.set("room", room.name);
    this.#joining.set(room, stop);
    try {
      await this.#enter(room, stopped);
    } catch (error) {
      room.end({code: "left"});
      if (stopped.aborted) this.#tellOfLeaving(room).catch(() => {});
      throw error;
    } finally {
      this.#joining.delete(room);
    }
    setTimeout(() => room.flush()); // once the application listens: several messages may arrive at once
    return room;
  }

  /**
   * Sends a request on a new link until it is answered; a room that cannot be joined again ends.
   * @param {Link} link
   * @param {BaseRoom<object>} room
   * @param {() => object} payload
   * @param {(link: Link, reply: Reply) => void} use
   * @internal
   */
  async rejoin(link, room, payload, use) {
    const ask = () => this.line.ask(link, this.#requests.join, room.name, payload(), use);
    try {
      await persist(ask, (error) => error instanceof SignalingError && error.retryable && link.isOpen);
    } catch (error) {
      if (!(error instanceof SignalingError) || !link.isOpen || (error.retryable && error.code !== "peer-id-taken")) throw error;
      room.end({message: error.message, ...error.details, code: error.code});
    }
  }

  /**
   * @param {RoomType} room
   * @param {AbortSignal} stop
   */
  async #enter(room, stop) {
    /** @type {Link | undefined} */
    let link;
    let known = false;
    const welcome = (/** @type {Link} */ link, /** @type {Reply} */ reply) => room.welcome(link, reply);
    const attempt = async () => {
      link = await this.line.ready(stop);
      if (known) await this.#askToLeave(link, room);
      await unlessAborted(this.line.ask(link, this.#requests.join, room.name, room.payload, welcome), stop);
    };
    const mayTryLater = (/** @type {unknown} */ error) => {
      // Left while there was no connection, or joined before it was lost; the client knows of no such room.
      known = error instanceof SignalingError && error.code === "already-in-room";
      return known || this.#mayJoinLater(error, room, link);
    };
    await persist(attempt, mayTryLater, stop);
    this.#claims.delete(claimOf(room));
  }

  /**
   * Whether to join again: the connection is lost or to be replaced, or the server has not noticed a loss.
   * @param {unknown} error
   * @param {BaseRoom<object>} room
   * @param {Link} [link]
   */
  #mayJoinLater(error, room, link) {
    if (!(error instanceof SignalingError)) return false;
    const {code} = error;
    if (LOST_CODES.has(code)) return !!this.#claims.add(claimOf(room)); // it may have been carried out
    if (code === "peer-id-taken") return this.#claims.has(claimOf(room));
    return code === "unavailable" && link?.moveAfter !== undefined;
  }

  /** @param {Link} link */
  async #restore(link) {
    const rooms = [...this.#rooms.values()].filter((room) => room.joined);
    const left = [...this.#left];
    const kind = /** @type {Kind} */ (/** @type {unknown} */ (this)); // that of the subclass
    for (const room of rooms) this.#claims.add(claimOf(room));
    if (rooms.length || left.length) {
      await kind.resume(link, rooms.length ? rooms : left.slice(0, 1)); // a room can be left only where the session goes on
    } else {
      link.restartSession();
      await kind.begin(link);
    }
    if (link.resumed || !rooms.length) for (const room of left) await this.#askToLeave(link, room);
    this.#left = this.#left.filter((room) => !left.includes(room));
  }

  /**
   * Tells the server now, or on the next link.
   * @param {BaseRoom<object>} room
   */
  async #tellOfLeaving(room) {
    const {link} = this.line;
    try {
      if (link) return await this.#askToLeave(link, room);
    } catch {
      // The link is lost.
    }
    if (this.state !== "closed") this.#left.push(room);
  }

  /**
   * Leaves a room, which the server may not know. Rejected if the link is lost.
   * @param {Link} link
   * @param {BaseRoom<object>} room
   */
  async #askToLeave(link, room) {
    try {
      await this.line.ask(link, this.#requests.leave, room.name, {});
    } catch (error) {
      if (error instanceof SignalingError && LOST_CODES.has(error.code)) throw error;
    }
  }

  /** @param {Message} message */
  #receive(message) {
    const {type, id, room: name = "", payload} = message;
    const room = this.#rooms.get(name);
    if (type === "error" && payload) {
      const error = errorOf(payload);
      // The token allows this room no more.
      if (room?.joined && id === undefined && error.code === "forbidden") room.end({code: error.code, message: error.message});
      else emit(this, "error", error);
    } else if (room?.joined) room.receive(message);
  }

  /** @param {SignalingError} error */
  #abandon(error) {
    this.#left = [];
    this.#claims.clear();
    for (const stop of this.#joining.values()) stop.abort(error);
    for (const room of this.#rooms.values()) room.end({code: "closed", message: error.message});
  }
}
