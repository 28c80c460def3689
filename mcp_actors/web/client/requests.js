/** The requests that the server has not answered yet. */

import {SignalingError, lossOf, noReply} from "./errors.js";

/** @import {Link} from "./link.js" */
/** @import {Payload} from "./messages.js" */

// Durations are in milliseconds.
const REPLY_TIMEOUT = 15_000;
const MAX_REPLY_TIMEOUT = 60_000; // for a request that can be sent again, on a connection that works
const LATE = 1000; // a timer that fires later than this was held up, as in a background tab
const NOT_REPEATABLE = "ice-servers"; // of the requests that may be sent on another link

/** @typedef {Payload & {negotiation?: number}} Reply */

/**
 * A request: sent on a link, or held until the session goes on.
 * @typedef {object} Request
 * @property {number} id
 * @property {string} type
 * @property {string} text
 * @property {boolean} resend whether it may be sent on another link
 * @property {((link: Link, reply: Reply) => void) | undefined} use called with the reply before anything later is handled
 * @property {Link | null} link on which it was sent; null while it is held
 * @property {Link | null} after after this link has said whether the session goes on; then it is sent in both cases
 * @property {boolean} sent
 * @property {number} sentAt
 * @property {ReturnType<typeof setTimeout> | undefined} timer
 * @property {(reply: Reply) => void} resolve
 * @property {(error: unknown) => void} reject
 * @property {Promise<Reply>} promise
 */

/**
 * The bytes of a text in UTF-8; they are only counted if they may exceed the limit.
 * @param {string} text
 * @param {number} [limit]
 */
const sizeOf = (text, limit = 0) => (text.length * 3 > limit ? new TextEncoder().encode(text).length : text.length);

/**
 * @param {string} type
 * @param {string} text
 * @param {number} [limit]
 */
const tooBig = (type, text, limit) =>
  new SignalingError("message-too-big", `The ${type} has ${sizeOf(text)} bytes, too many for the server.`, {
    details: {limit},
  });

export class Requests {
  /** Bytes of the largest message, if the server has told it. @type {number | undefined} */
  maxBytes;
  /** @type {Map<unknown, Request>} */
  #requests = new Map();
  #lastId = Math.floor(Math.random() * 2 ** 52); // random, so that ids differ between tabs and page loads

  /**
   * Keeps a new request. Throws SignalingError if it is too big.
   * @param {string} type
   * @param {string | undefined} room
   * @param {object} payload
   * @param {{negotiation?: number, resend?: boolean, use?: (link: Link, reply: Reply) => void}} [options]
   * @returns {Request}
   */
  add(type, room, payload, {negotiation, resend = true, use} = {}) {
    const id = ++this.#lastId;
    const text = JSON.stringify({type, room, payload, id, negotiation});
    if (this.maxBytes !== undefined && sizeOf(text, this.maxBytes) > this.maxBytes) throw tooBig(type, text, this.maxBytes);
    const unsent = {link: null, after: null, sent: false, sentAt: 0, timer: undefined};
    /** @type {Request} */
    const request = {id, type, text, resend, use, ...unsent, ...Promise.withResolvers()};
    this.#requests.set(id, request);
    return request;
  }

  /**
   * @param {Request} request
   * @param {Link} link
   */
  send(request, link) {
    const again = request.sent && request.type !== NOT_REPEATABLE;
    clearTimeout(request.timer);
    Object.assign(request, {link, sent: true, sentAt: performance.now()});
    this.#expectReply(request, link);
    link.send(again ? `${request.text.slice(0, -1)},"again":true}` : request.text);
  }

  /**
   * Keeps a request for the next link.
   * @param {Request} request
   */
  hold(request) {
    clearTimeout(request.timer);
    request.link = null;
  }

  /**
   * Answers a request; returns whether there is one with this id.
   * @param {unknown} id
   * @param {Link} link
   * @param {Reply} reply
   * @param {SignalingError | null} error
   */
  settle(id, link, reply, error) {
    const request = this.#requests.get(id);
    if (!request) return false;
    if (error) {
      this.fail(request, error);
      return true;
    }
    this.#forget(request);
    this.maxBytes = reply.max_message_bytes ?? this.maxBytes;
    request.use?.(link, reply);
    request.resolve(reply);
    return true;
  }

  /**
   * @param {Request} request
   * @param {unknown} [error] the reply cannot come any more, if there is none
   */
  fail(request, error = lossOf(request)) {
    this.#forget(request);
    request.reject(error);
  }

  /**
   * The requests sent on a link, or with null those that are held, in the order made.
   * @param {Link | null} link
   */
  on(link) {
    return [...this.#requests.values()].filter((request) => request.link === link);
  }

  /** @param {unknown} [error] */
  failAll(error) {
    for (const request of this.#requests.values()) this.fail(request, error);
  }

  /**
   * Fails the largest request on a link, for which the server has closed it: it would do so again.
   * @param {Link} link
   */
  failLargest(link) {
    const [largest] = this.on(link).sort((one, other) => other.text.length - one.text.length);
    if (largest) this.fail(largest, tooBig(largest.type, largest.text, this.maxBytes));
  }

  /**
   * @param {Request} request
   * @param {Link} link
   */
  #expectReply(request, link) {
    const due = performance.now() + REPLY_TIMEOUT;
    request.timer = setTimeout(() => this.#overdue(request, link, performance.now() - due > LATE), REPLY_TIMEOUT);
  }

  /**
   * @param {Request} request
   * @param {Link} link
   * @param {boolean} late
   */
  #overdue(request, link, late) {
    const {type, resend, sentAt} = request;
    const works = link.heardAt > sentAt;
    if (resend && (works || late) && performance.now() - sentAt < MAX_REPLY_TIMEOUT) return this.#expectReply(request, link);
    // A request that can be sent again is, on the next link.
    if (!resend || works) this.fail(request, new SignalingError("timeout", noReply(type), {retryable: !resend}));
    if (!resend || !works) link.fail();
  }

  /** @param {Request} request */
  #forget(request) {
    clearTimeout(request.timer);
    this.#requests.delete(request.id);
  }
}
