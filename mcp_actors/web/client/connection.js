/** A connection to /ws/signaling/. */

import {Client} from "./client.js";
import {Room} from "./room.js";

/** @import {BaseRoom} from "./base-room.js" */
/** @import {ConnectionOptions} from "./client.js" */
/** @import {Link} from "./link.js" */
/** @import {Reply} from "./requests.js" */

/** A random id of 128 bits; crypto.randomUUID is missing on pages of plain HTTP. */
const randomId = () => [...crypto.getRandomValues(new Uint32Array(4))].map((part) => part.toString(36)).join("-");

/**
 * A peer in any number of rooms.
 * @extends {Client<Room>}
 */
export class Connection extends Client {
  #hasToken;

  /**
   * @param {string | URL} url of the server, with the prefix of its paths if there is one, or of /ws/signaling/
   * @param {ConnectionOptions} [options]
   */
  constructor(url, options = {}) {
    super(url, "/ws/signaling/", {join: "join", leave: "leave"}, options);
    this.#hasToken = options.token !== undefined;
  }

  /**
   * Joins a room; connects first, if necessary. While the connection is lost, the join waits for the next one.
   * @param {string} room
   * @param {object} [options]
   * @param {string} [options.peerId] unique in the room. If it is left out, the access token says it; without a token it is random
   * @param {Record<string, unknown>} [options.metadata] shown to everybody in the room
   * @param {boolean} [options.presence] whether "peer-away" and "peer-back" are wanted
   * @param {AbortSignal} [options.signal] takes the join back
   * @returns {Promise<Room>} rejected with a SignalingError, of the server or of the client; or with the reason of the signal
   */
  join(room, {peerId, metadata, presence, signal} = {}) {
    const peer_id = peerId ?? (this.#hasToken ? undefined : randomId());
    return this.enter(new Room(room, {peer_id, metadata, presence}, this), signal);
  }

  /**
   * Sees that the server lets this client in.
   * @param {Link} link
   * @internal
   */
  begin(link) {
    return this.line.ask(link, "ping", undefined, {});
  }

  /**
   * @param {Link} link
   * @param {BaseRoom<object>[]} rooms
   * @internal
   */
  async resume(link, rooms) {
    const rest = /** @type {Room[]} */ ([...rooms]);
    // The first room that is joined resumes the session.
    for (let room; link.resumed === undefined && (room = rest.shift()); ) await this.#resumeRoom(link, room);
    await Promise.all(rest.map((room) => this.#resumeRoom(link, room)));
    if (link.resumed === undefined) link.restartSession(); // none of the rooms is left
  }

  /**
   * @param {Link} link
   * @param {Room} room
   */
  #resumeRoom(link, room) {
    const payload = () => ({...room.payload, ...(link.resumed === false ? {} : link.session.resumeFields())});
    const use = (/** @type {Link} */ link, /** @type {Reply} */ joined) => {
      link.greet(joined);
      const resumed = joined.resumed === true && joined.order === room.order;
      room.rejoined(joined, resumed, resumed && link.complete);
    };
    return this.rejoin(link, room, payload, use);
  }
}
