/** The common base of the rooms of peers and of users. */

import {SignalingError} from "./errors.js";
import {TypedEventTarget, emit} from "./events.js";
import {camel, peerOf} from "./messages.js";

/** @import {Link} from "./link.js" */
/** @import {Ban, Message, Payload, Peer} from "./messages.js" */
/** @import {Reply} from "./requests.js" */
/** @import {PersistentLink} from "./persistent-link.js" */

/**
 * The last event of a room. `code`: "left", "kicked", "room-closed", "closed" if the connection is closed for good, or the code
 * of a SignalingError that forbids to join again. `reason` for programs and `message` for people are those of a moderator, or
 * of the error.
 * @typedef {{code: string, reason?: string, message?: string}} Ended
 */

/**
 * The events of each room, with their `detail`; `peers` is up to date before. "rejoined": messages were missed, and `peers` is
 * right again; `resumed` is false if the others were told that this client left and joined.
 * @typedef {object} CommonEvents
 * @property {Peer} peer-joined
 * @property {Peer} peer-updated
 * @property {{peerId: string, reason: string}} peer-left
 * @property {{locked: boolean}} lock-changed
 * @property {{content: unknown}} announcement
 * @property {{resumed: boolean}} rejoined
 * @property {Ended} ended
 */

/** @typedef {string | {peerId: string} | {userId: string}} Target the id of a peer, or that of a user as {userId} */
/** @typedef {{reason?: string, message?: string}} Explanation `reason` for programs, and `message` for people */

/**
 * What a room needs of its client.
 * @typedef {object} RoomOwner
 * @property {PersistentLink} line
 * @property {(room: BaseRoom<object>) => void} forget
 * @property {(room: BaseRoom<object>) => Promise<void>} leave
 */

/** @param {Target} target */
const wireTarget = (target) => {
  if (typeof target === "string") return {peer_id: target};
  const {peerId, userId} = /** @type {{peerId?: string, userId?: string}} */ (target);
  return {peer_id: peerId, user_id: userId};
};

/**
 * A room that this client is in.
 * @template {object} Events
 * @extends {TypedEventTarget<Events>}
 */
export class BaseRoom extends TypedEventTarget {
  /** @readonly */
  name;
  /** @internal */
  payload;
  /** @type {Map<string, Peer>} */
  #peers = new Map();
  /** @type {Record<string, unknown>} */
  #metadata = {};
  #locked = false;
  #joined = false;
  #ended = false;
  /** Messages that wait until the application can listen. @type {Message[] | null} */
  #early = [];
  #owner;

  /**
   * @param {string} name
   * @param {Record<string, unknown>} payload of the request that joins the room
   * @param {RoomOwner} owner
   * @internal
   */
  constructor(name, payload, owner) {
    super();
    this.name = name;
    this.payload = payload;
    this.#owner = owner;
  }

  /** The connection on which the room was joined. @internal */
  get owner() {
    return this.#owner;
  }

  /** The peers of the room by their ids, in the order of joining; without this one. @returns {ReadonlyMap<string, Peer>} */
  get peers() {
    return this.#peers;
  }

  /** Whether a moderator has locked the room. */
  get locked() {
    return this.#locked;
  }

  /** Whether this client is in the room; until "ended". */
  get joined() {
    return this.#joined;
  }

  /** This client's, as the server has it. @returns {Record<string, unknown>} */
  get metadata() {
    return this.#metadata;
  }

  /**
   * Replaces the metadata of this client; the others are told.
   * @param {Record<string, unknown>} metadata
   */
  async update(metadata) {
    await this.request("update", {metadata});
    this.payload["metadata"] = this.#metadata = metadata;
  }

  /** Leaves the room; the others are told at once. A room that has ended is left already. */
  leave() {
    return this.#owner.leave(this);
  }

  /**
   * For moderators, as all that follows: removes a peer or a user.
   * @param {Target} target
   * @param {Explanation & {banSeconds?: number}} [options] `banSeconds`: how long it may not join again
   */
  async kick(target, {banSeconds, ...explanation} = {}) {
    await this.request("kick", {...wireTarget(target), ban_seconds: banSeconds, ...explanation});
  }

  /**
   * Lifts a ban.
   * @param {Target} target
   */
  async unban(target) {
    await this.request("unban", wireTarget(target));
  }

  /** @returns {Promise<Ban[]>} the bans in force */
  async bans() {
    return /** @type {Ban[]} */ ((await this.request("list-bans")).bans.map(camel));
  }

  /** Refuses all joins from now on, except those of moderators. */
  async lock() {
    await this.request("lock");
    this.#setLocked(true);
  }

  /** Allows joins again. */
  async unlock() {
    await this.request("unlock");
    this.#setLocked(false);
  }

  /**
   * Removes everybody, including this client.
   * @param {Explanation} [explanation]
   */
  async close(explanation = {}) {
    await this.request("close-room", explanation);
    this.end({...explanation, code: "room-closed"});
  }

  /**
   * @param {string} type
   * @param {object} [payload]
   * @param {{negotiation?: number, resend?: boolean}} [options]
   * @returns {Promise<Reply>}
   * @internal
   */
  async request(type, payload = {}, options = {}) {
    if (this.#ended) throw new SignalingError("left", "The room was left.");
    return this.#owner.line.request(type, this.name, payload, options);
  }

  /**
   * Begins with the roster.
   * @param {Link} _link
   * @param {Payload} reply
   * @internal
   */
  welcome(_link, reply) {
    if (this.#ended) return;
    this.#joined = true;
    this.show(reply);
  }

  /**
   * Goes on with the roster that another link brings.
   * @param {Payload} reply
   * @param {boolean} resumed
   * @param {boolean} complete
   * @internal
   */
  rejoined(reply, resumed, complete) {
    this.flush();
    if (!this.#joined) return; // it was left meanwhile
    this.show(reply);
    if (!complete) emit(this, "rejoined", {resumed});
  }

  /**
   * Handles a message about this room.
   * @param {Message} message
   * @internal
   */
  receive(message) {
    if (this.#early) this.#early.push(message);
    else this.handle(message, message.payload ?? /** @type {Payload} */ ({}));
  }

  /** The application can listen from now on. @internal */
  flush() {
    const early = this.#early ?? [];
    this.#early = null;
    for (const message of early) this.receive(message);
  }

  /**
   * No more events come.
   * @param {Ended} ended
   * @internal
   */
  end(ended) {
    if (this.#ended) return;
    if (this.#joined) this.flush();
    this.#ended = true;
    this.#joined = false;
    this.#owner.forget(this);
    emit(this, "ended", ended);
  }

  /**
   * Keeps the roster.
   * @param {Payload} reply
   * @internal
   */
  show({peers = [], peer_id, locked = false}) {
    this.#locked = locked;
    this.#peers.clear();
    for (const peer of peers) {
      if (peer.peer_id === peer_id) this.#metadata = peer.metadata ?? {};
      else this.#peers.set(peer.peer_id, peerOf(peer));
    }
  }

  /** @param {boolean} locked */
  #setLocked(locked) {
    if (locked !== this.#locked) emit(this, "lock-changed", {locked: (this.#locked = locked)});
  }

  /**
   * @param {Message} message
   * @param {Payload} payload
   * @internal
   */
  handle({type}, payload) {
    const {peer_id} = payload;
    const peer = this.#peers.get(peer_id);
    switch (type) {
      case "peer-joined":
        this.#peers.set(peer_id, peerOf(payload));
        return emit(this, type, this.#peers.get(peer_id));
      case "peer-left":
        this.#peers.delete(peer_id);
        return emit(this, type, camel(payload));
      case "peer-updated":
        if (peer) emit(this, type, Object.assign(peer, {metadata: payload.metadata ?? {}}));
        return;
      case "peer-away":
      case "peer-back":
        if (peer) emit(this, type, Object.assign(peer, {presence: type === "peer-away" ? "away" : "here"}));
        return;
      case "room-locked":
      case "room-unlocked":
        return this.#setLocked(type === "room-locked");
      case "announcement":
        return emit(this, type, {content: payload.content});
      case "kicked":
      case "room-closed":
        return this.end({reason: payload.reason, message: payload.message, code: type});
    }
  }
}
