/** One WebSocket to the server. */

import {Heartbeat, PROBE_TIMEOUT} from "./heartbeat.js";
import {Session} from "./session.js";

/** @import {Message, Payload} from "./messages.js" */

const OPEN_TIMEOUT = 15_000; // milliseconds
const OPEN = 1; // states of WebSocket
const CLOSING = 2;

/** The code of a connection that ended without a close frame. */
export const LOST = 1006;

/** Close codes of a client that leaves, and of one that comes back: 1000 ends the session. */
export const NORMAL = 1000;
export const TO_RECONNECT = 4002;

/**
 * @typedef {object} LinkHandlers
 * @property {(link: Link) => void} opened
 * @property {(link: Link, message: Message) => void} received
 * @property {(link: Link, code: number, reason: string) => void} lost called once, unless it was closed by `close`
 */

export class Link {
  /** When it was opened, or 0; of performance.now(). */
  openedAt = 0;
  /** Whether the session goes on; undefined until the server has said so. @type {boolean | undefined} */
  resumed;
  /** Whether it goes on, and no message is missing. */
  complete = false;
  /** Whether its session is restored. */
  ready = false;
  /** Milliseconds, once the server has asked for another link. @type {number | undefined} */
  moveAfter;
  #fresh = true; // no numbered message has arrived yet
  #ended = false;
  #startedAt = performance.now();
  #socket;
  #heartbeat;
  #handlers;
  #timer;

  /**
   * @param {WebSocket} socket
   * @param {Session} session the one that it resumes, or later the one that it has begun
   * @param {LinkHandlers} handlers
   */
  constructor(socket, session, handlers) {
    this.session = session;
    this.#socket = socket;
    this.#handlers = handlers;
    this.#heartbeat = new Heartbeat(() => this.send('{"type":"ping"}'), () => this.fail());
    this.#timer = setTimeout(() => this.fail(), OPEN_TIMEOUT);
    socket.onopen = () => this.#opened();
    socket.onmessage = ({data}) => this.#received(data);
    socket.onclose = ({code, reason}) => this.#end(code, reason);
    socket.onerror = () => this.openedAt || this.#end(LOST, ""); // Node tells no more of a refused handshake
  }

  /** Whether messages can be sent. */
  get isOpen() {
    return !this.#ended && this.#socket.readyState === OPEN;
  }

  /** When something arrived last. */
  get heardAt() {
    return this.#heartbeat.heardAt;
  }

  /**
   * Does nothing on a socket that is closing: its close event reports the loss.
   * @param {string} text
   */
  send(text) {
    if (this.#socket.readyState < CLOSING) this.#socket.send(text);
  }

  /** Finds out at once whether it still works. */
  probe() {
    if (this.openedAt) this.#heartbeat.probe();
    else if (performance.now() - this.#startedAt > PROBE_TIMEOUT) this.fail();
  }

  /**
   * Keeps what the reply to a join says about the session and the connection.
   * @param {Payload} reply
   */
  greet({resume, resumed = false, complete = false, ping_interval = 0}) {
    this.session.token = resume;
    this.#heartbeat.start(ping_interval * 1000);
    this.complete = this.resumed === undefined ? resumed && complete : this.complete; // the first reply says it
    this.resumed ??= resumed;
  }

  /** Begins without a session. */
  restartSession() {
    this.session = new Session();
  }

  /**
   * Whether no message with this number was received before, on any connection of the session; remembers it.
   * @param {number} delivery
   */
  isNew(delivery) {
    // A connection that starts with 1 has started another session: a resumed one continues after `received`.
    if (this.#fresh && delivery === 1) this.session = new Session(this.session.token);
    this.#fresh = false;
    if (delivery <= this.session.delivered) return false;
    this.session.delivered = delivery;
    return true;
  }

  /** Gives up a connection on which nothing arrives. */
  fail() {
    this.#socket.close(TO_RECONNECT);
    this.#end(LOST, "");
  }

  /** @param {number} code */
  close(code) {
    this.#stop();
    this.#socket.close(code);
  }

  #opened() {
    if (this.#ended) return;
    clearTimeout(this.#timer);
    this.openedAt = performance.now();
    this.#handlers.opened(this);
  }

  /** @param {string} data */
  #received(data) {
    if (this.#ended) return;
    this.#heartbeat.heard();
    this.#handlers.received(this, JSON.parse(data));
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #end(code, reason) {
    if (this.#ended) return;
    this.#stop();
    this.#handlers.lost(this, code, reason);
  }

  #stop() {
    this.#ended = true;
    clearTimeout(this.#timer);
    this.#heartbeat.stop();
  }
}
