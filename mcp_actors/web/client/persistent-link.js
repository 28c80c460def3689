/** Keeps one link in use: reconnects, continues the session, and moves to another server process when asked to. */

import {whyClosed, whyUnreachable} from "./address.js";
import {Backoff, unlessAborted} from "./backoff.js";
import {SignalingError, closed, connectionLost, errorOf, messageOf} from "./errors.js";
import {LOST, Link, NORMAL, TO_RECONNECT} from "./link.js";
import {Requests} from "./requests.js";
import {Seen, Session} from "./session.js";
import {onWake} from "./wake.js";

/** @import {TokenSource} from "./tokens.js" */
/** @import {Message} from "./messages.js" */
/** @import {Reply} from "./requests.js" */

// Durations are in milliseconds.
const MAX_FIRST_DELAY = 200;
const FIRST_DELAY = 500;
const MAX_DELAY = 30_000;
const STABLE_AFTER = 10_000;
const CLOSED_HERE = "closed by this side";
const TOO_BIG = 1009;
const FIRST_FINAL = 4500; // do not reconnect after this close code and higher ones
const REPLACED = 4501;
const TOKEN_EXPIRED = 4503;
const IN_NO_ROOM = [4504, 4505, 4510]; // a join that the server has not seen opens another connection

/** @typedef {"connecting" | "open" | "reconnecting" | "closed"} State */

/**
 * The rooms of a client, as its link sees them.
 * @typedef {object} Owner
 * @property {(link: Link) => Promise<void>} restore continues the session on a new link, or begins another; rejected with a
 *   SignalingError if that link cannot be used
 * @property {(message: Message) => void} receive handles a message that answers no request
 * @property {(event: string, detail: unknown) => void} tell dispatches an event of the connection
 * @property {(error: SignalingError) => void} closed for good
 */

/** @typedef {{url: URL, tokens: TokenSource, WebSocket: typeof WebSocket, connectTimeout: number}} Options */

export class PersistentLink {
  /** @type {State} */
  state = "closed";
  #options;
  #owner;
  #requests = new Requests();
  #seen = new Seen();
  #session = new Session();
  /** The one in use, or being opened. @type {Link | null} */
  #link = null;
  /** The one that is to replace it. @type {Link | null} */
  #next = null;
  #waiting = 0;
  /** @type {PromiseWithResolvers<Link>} */
  #usable = Promise.withResolvers();
  /** What is being prepared: a token that comes later belongs to an earlier attempt. */
  #attempt = {};
  #backoff = new Backoff(FIRST_DELAY, MAX_DELAY);
  /** Before the next attempt: to connect, or with a link to move. @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #awake = new AbortController();
  #wasOpen = false;
  /** Set once this side has closed it. @type {SignalingError | undefined} */
  #end;
  /** Why there is no connection, if that is known. @type {SignalingError | undefined} */
  #failure;

  /**
   * @param {Options} options
   * @param {Owner} owner
   */
  constructor(options, owner) {
    this.#options = options;
    this.#owner = owner;
  }

  /** The link in use, if messages can be sent on it. */
  get link() {
    return this.#link?.ready && this.#link.isOpen ? this.#link : null;
  }

  /**
   * Connects, if necessary, and waits for a link on which a room can be joined.
   * @param {AbortSignal} [signal]
   * @returns {Promise<Link>} rejected with a SignalingError, or with the reason of the signal
   */
  async ready(signal) {
    signal?.throwIfAborted();
    if (this.#end) throw this.#end;
    if (this.state === "closed") this.#start();
    const {link} = this;
    if (link && link.moveAfter === undefined) return link;
    if (this.#timer && link) this.#move(); // now, as no room can be joined before
    const late = new AbortController();
    const timer = setTimeout(async () => late.abort(await this.#why()), this.#options.connectTimeout);
    this.#waiting++;
    try {
      return await unlessAborted(this.#usable.promise, AbortSignal.any(signal ? [signal, late.signal] : [late.signal]));
    } catch (error) {
      if (this.#waiting === 1) this.#giveUp(error);
      throw error;
    } finally {
      clearTimeout(timer);
      this.#waiting--;
    }
  }

  /**
   * Sends a request on this link or not at all.
   * @param {Link} link
   * @param {string} type
   * @param {string | undefined} room
   * @param {object} payload
   * @param {(link: Link, reply: Reply) => void} [use] called with the reply before anything later is handled
   * @returns {Promise<Reply>}
   */
  async ask(link, type, room, payload, use) {
    if (!link.isOpen) throw connectionLost();
    const request = this.#requests.add(type, room, payload, {resend: false, use});
    this.#requests.send(request, link);
    return request.promise;
  }

  /**
   * Sends a request. While there is no link it waits until the session goes on; it is sent again if it may not have arrived.
   * @param {string} type
   * @param {string} room
   * @param {object} payload
   * @param {{negotiation?: number, resend?: boolean}} [options]
   * @returns {Promise<Reply>}
   */
  async request(type, room, payload, {negotiation, resend = true} = {}) {
    const {link} = this;
    const newest = this.#next ?? this.#link;
    const after = newest?.resumed === undefined ? null : newest; // it has said whether the session goes on
    if (!link && !after && !(resend && this.#canHold())) throw connectionLost();
    const request = this.#requests.add(type, room, payload, {negotiation, resend});
    if (link) this.#requests.send(request, link);
    else request.after = after;
    return request.promise;
  }

  /** Tries now what would be tried after a pause, and finds out whether the link works. */
  hurry() {
    this.#link?.probe();
    if (this.#timer && !this.#link) this.#connect();
  }

  /** Closes for good. */
  close() {
    this.#end = closed(NORMAL, CLOSED_HERE);
    if (this.state !== "closed") this.#finish(NORMAL, CLOSED_HERE);
  }

  #canHold() {
    return this.state !== "closed" && this.#session.token !== undefined;
  }

  #start() {
    this.#backoff.attempts = 0;
    this.#wasOpen = false;
    this.#failure = undefined;
    this.state = "connecting";
    this.#awake = new AbortController();
    onWake(() => this.hurry(), this.#awake.signal);
    this.#connect();
  }

  // Waiting for a link

  /**
   * Nobody waits any more: a first connection is given up.
   * @param {unknown} error
   */
  #giveUp(error) {
    if (this.#wasOpen || this.state === "closed") return;
    if (error instanceof SignalingError) this.#finish(LOST, error.code, error);
    else this.#finish(NORMAL, CLOSED_HERE);
  }

  /** Those who wait now; later ones wait for another link. */
  #settle() {
    const usable = this.#usable;
    usable.promise.catch(() => {}); // perhaps nobody waits
    this.#usable = Promise.withResolvers();
    return usable;
  }

  /** @returns {Promise<SignalingError>} */
  async #why() {
    const {tokens, url} = this.#options;
    return tokens.delay ?? this.#failure ?? whyUnreachable(url);
  }

  // Connecting

  #connect() {
    this.#dial(
      (link) => (this.#link = link),
      (error) => {
        if (error instanceof SignalingError) return this.#lost(LOST, error.message, error);
        // The browser refuses the address or the token, and would do so again.
        const text = messageOf(error);
        return this.#finish(LOST, text, new SignalingError("unreachable", text));
      },
    );
  }

  /**
   * Opens a link, unless something else happens meanwhile.
   * @param {(link: Link) => void} use
   * @param {(error: unknown) => void} fail with a SignalingError if there is no token
   */
  async #dial(use, fail) {
    this.#stopTimer();
    const attempt = (this.#attempt = {});
    try {
      const protocols = await this.#options.tokens.protocols();
      if (attempt === this.#attempt) use(this.#open(protocols));
    } catch (error) {
      if (attempt === this.#attempt) fail(error);
    }
  }

  #stopTimer() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** @param {string[]} protocols */
  #open(protocols) {
    const {url, WebSocket} = this.#options;
    return new Link(new WebSocket(url.href, protocols), this.#session, {
      opened: (link) => this.#restore(link),
      received: (link, message) => this.#received(link, message),
      lost: (link, code, reason) => this.#linkLost(link, code, reason),
    });
  }

  /** @param {Link} link */
  async #restore(link) {
    try {
      await this.#owner.restore(link);
    } catch (error) {
      if (!this.#uses(link) || !link.isOpen) return; // its loss is handled elsewhere
      const refusal = /** @type {SignalingError} */ (error);
      link.close(TO_RECONNECT);
      if (link === this.#next || refusal.retryable) return this.#linkLost(link, LOST, "");
      return this.#finish(FIRST_FINAL, refusal.code, refusal);
    }
    if (this.#uses(link) && link.isOpen) this.#restored(link);
  }

  /** @param {Link} link */
  #uses(link) {
    return link === this.#link || link === this.#next;
  }

  /**
   * Uses a link whose session is restored. Requests that may not have arrived are sent again, if the session goes on.
   * @param {Link} link
   */
  #restored(link) {
    if (link === this.#next) this.#takeOver(link);
    this.#session = link.session;
    link.ready = true;
    const wasOpen = this.state === "open";
    this.state = "open";
    this.#wasOpen = true;
    for (const request of this.#requests.on(null)) {
      if (link.complete || request.after === link) this.#requests.send(request, link);
      else this.#requests.fail(request);
    }
    if (link.moveAfter !== undefined) this.#scheduleMove(link, link.moveAfter);
    else this.#settle().resolve(link);
    if (!wasOpen) this.#owner.tell("open", null);
  }

  // Moving to another server process

  /**
   * The server asks us to reconnect after a delay. The current link stays in use until the next one is ready.
   * @param {Link} link
   * @param {number} after
   */
  #scheduleMove(link, after) {
    link.moveAfter = after; // remembered if it is not in use yet
    if (link !== this.#link || !link.ready || this.#next || this.#timer) return;
    this.#backoff.attempts = 0;
    this.#timer = setTimeout(() => this.#move(), this.#waiting ? 0 : after);
  }

  #move() {
    // Without a session our id is free only after this link is closed.
    if (this.#session.token === undefined) return this.#link?.fail();
    return this.#dial((link) => (this.#next = link), () => this.#moveLater());
  }

  #moveLater() {
    this.#timer = setTimeout(() => this.#move(), this.#backoff.next(MAX_FIRST_DELAY));
  }

  /** @param {Link} next */
  #takeOver(next) {
    const old = /** @type {Link} */ (this.#link);
    this.#link = next;
    this.#next = null;
    this.#release(old);
    next.openedAt = old.openedAt;
    old.close(NORMAL); // if the session was resumed, the server has closed it already
  }

  // Messages

  /**
   * @param {Link} link
   * @param {Message} message
   */
  #received(link, message) {
    const {delivery, type, room, id, sender, at} = message;
    if (!this.#uses(link) || (delivery !== undefined && !link.isNew(delivery))) return;
    if (link === this.#link) this.#session = link.session; // which may have begun another one
    if (at !== undefined && room !== undefined) link.session.keepPosition(room, at);
    const payload = message.payload ?? /** @type {Reply} */ ({});
    const error = type === "error" ? errorOf(payload) : null;
    this.#backoff.rest(error);
    // A relayed message has the id of its sender: only a message without a sender can be a reply.
    if (sender === undefined && this.#requests.settle(id, link, payload, error)) return;
    if (type === "token-expiring") this.#renewToken(link);
    else if (type === "reconnect") this.#scheduleMove(link, payload.after_ms);
    else if (sender === undefined || !this.#seen.isDuplicate(message)) this.#owner.receive(message);
  }

  /**
   * Sends a new token; without one the server closes the connection, and it is reconnected.
   * @param {Link} link
   */
  async #renewToken(link) {
    if (!this.#options.tokens.renewable) return;
    const token = await this.#options.tokens.get().catch(() => undefined);
    if (token !== undefined && link.isOpen) link.send(JSON.stringify({type: "authenticate", payload: {token}}));
  }

  // The end of a link

  /**
   * Holds the requests of a link until the session goes on, or fails them.
   * @param {Link} link
   */
  #release(link) {
    for (const request of this.#requests.on(link)) {
      if (request.resend && this.#canHold()) this.#requests.hold(request);
      else this.#requests.fail(request);
    }
  }

  /**
   * @param {Link} link
   * @param {number} code
   * @param {string} reason
   */
  #linkLost(link, code, reason) {
    if (!this.#uses(link)) return;
    if (code === TOO_BIG) this.#requests.failLargest(link); // or it would be closed again
    if (link !== this.#next) return this.#lost(code, reason);
    this.#next = null;
    this.#release(link);
    if (!this.#isFinal(code)) this.#moveLater();
  }

  /** @param {number} code */
  #isFinal(code) {
    return code >= FIRST_FINAL && !(code === TOKEN_EXPIRED && this.#options.tokens.renewable);
  }

  /**
   * @param {number} code
   * @param {string} reason
   * @param {SignalingError} [error]
   */
  #lost(code, reason, error = whyClosed(code, reason)) {
    const link = this.#link;
    const replacedByNext = code === REPLACED && this.#next?.openedAt;
    if (this.#isFinal(code) && !replacedByNext) return this.#finish(code, reason);
    this.#failure = error;
    this.#stopTimer();
    this.#attempt = {};
    this.#link = this.#next;
    this.#next = null;
    if (link) this.#release(link);
    if (this.#link) return undefined;
    if (link?.ready && performance.now() - link.openedAt > STABLE_AFTER) this.#backoff.attempts = 0;
    return this.#reconnect(code);
  }

  /** @param {number} code */
  #reconnect(code) {
    this.state = "reconnecting";
    const delay = this.#backoff.next(MAX_FIRST_DELAY);
    this.#timer = setTimeout(() => this.#connect(), delay);
    this.#owner.tell("reconnecting", {attempt: this.#backoff.attempts, delay, code});
    if (this.#backoff.attempts === 1 && !this.#wasOpen) this.#giveUpIfRefused();
  }

  /** Gives up a first connection if it can be seen that the server would refuse it again. */
  async #giveUpIfRefused() {
    const error = await this.#why();
    if (!error.retryable && this.state === "reconnecting" && !this.#wasOpen) this.#finish(LOST, error.code, error);
  }

  /**
   * @param {number} code
   * @param {string} reason
   * @param {SignalingError} [error]
   */
  #finish(code, reason, error = closed(code, reason)) {
    this.#stopTimer();
    this.#awake.abort();
    this.#attempt = {};
    const links = [this.#link, this.#next];
    this.#link = this.#next = null;
    this.state = "closed";
    this.#session = new Session();
    for (const link of links) link?.close(NORMAL);
    const isIdle = IN_NO_ROOM.includes(code);
    this.#requests.failAll(isIdle ? undefined : error);
    this.#settle().reject(error);
    if (!isIdle) this.#owner.closed(error);
    this.#owner.tell("close", {code, reason});
  }
}
