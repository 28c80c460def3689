/** The client's part of a session, with which it continues on another connection. */

/** @import {Message} from "./messages.js" */

const MAX_POSITIONS = 64; // rooms: twice as many as a connection may be in
const MAX_SEEN = 1024; // messages of others

/**
 * Deletes the oldest entry of a Map or Set that has grown beyond its limit.
 * @param {Map<string, unknown> | Set<string>} entries
 * @param {number} limit
 */
const trim = (entries, limit) => {
  if (entries.size > limit) entries.delete(/** @type {string} */ (entries.keys().next().value));
};

/** The resume token, the number of the last message, and the last stream position of each room. */
export class Session {
  delivered = 0;
  /** @type {Map<string, string>} */
  #positions = new Map();

  /** @param {string} [token] */
  constructor(token) {
    this.token = token;
  }

  /**
   * @param {string} room
   * @param {string} at
   */
  keepPosition(room, at) {
    this.#positions.delete(room);
    this.#positions.set(room, at);
    trim(this.#positions, MAX_POSITIONS);
  }

  /** The fields of the request that resumes this session; none if it cannot be resumed. */
  resumeFields() {
    return this.token === undefined
      ? {}
      : {resume: this.token, received: this.delivered, at: Object.fromEntries(this.#positions)};
  }
}

/** The last messages of others that have an id. */
export class Seen {
  /** @type {Set<string>} */
  #keys = new Set();

  /**
   * Whether a message was sent again although it had arrived: the server process that relayed it was killed.
   * @param {Message} message
   */
  isDuplicate({room, sender, id, again}) {
    if (id === undefined || id === null) return false;
    const key = JSON.stringify([room, sender, id]);
    if (this.#keys.has(key)) return again === true;
    this.#keys.add(key);
    trim(this.#keys, MAX_SEEN);
    return false;
  }
}
