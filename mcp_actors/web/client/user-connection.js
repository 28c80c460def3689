/** A connection to /ws/mcp/. */

import {Client} from "./client.js";
import {UserRoom} from "./user-room.js";

/** @import {BaseRoom} from "./base-room.js" */
/** @import {ConnectionOptions} from "./client.js" */
/** @import {Link} from "./link.js" */
/** @import {Reply} from "./requests.js" */

/**
 * A user in any number of rooms.
 * @extends {Client<UserRoom>}
 */
export class UserConnection extends Client {
  #userId;

  /**
   * @param {string | URL} url of the server, with the prefix of its paths if there is one, or of /ws/mcp/
   * @param {ConnectionOptions & {userId?: string}} [options] `userId` may be left out if an access token says who the user is
   */
  constructor(url, options = {}) {
    super(url, "/ws/mcp/", {join: "join-room", leave: "leave-room"}, options);
    this.#userId = options.userId;
  }

  /** This user's id; that of the access token once there is a connection. */
  get userId() {
    return this.#userId;
  }

  /**
   * Joins a room; connects first, if necessary. While the connection is lost, the join waits for the next one.
   * @param {string} room
   * @param {{signal?: AbortSignal}} [options] `signal` takes the join back
   * @returns {Promise<UserRoom>} rejected with a SignalingError, of the server or of the client; or with the reason of the signal
   */
  join(room, {signal} = {}) {
    return this.enter(new UserRoom(room, {}, this), signal);
  }

  /**
   * Says who this user is.
   * @param {Link} link
   * @internal
   */
  begin(link) {
    return this.#introduce(link, {});
  }

  /**
   * @param {Link} link
   * @param {BaseRoom<object>[]} rooms
   * @internal
   */
  async resume(link, rooms) {
    await this.#introduce(link, link.session.resumeFields());
    if (link.resumed) return; // the server shows the rooms if messages are missing
    const use = (/** @type {BaseRoom<object>} */ room) => (/** @type {Link} */ _, /** @type {Reply} */ joined) =>
      room.rejoined(joined, false, false);
    await Promise.all(rooms.map((room) => this.rejoin(link, room, () => ({}), use(room))));
  }

  /**
   * @param {Link} link
   * @param {object} resume
   */
  #introduce(link, resume) {
    return this.line.ask(link, "connect", undefined, {user_id: this.#userId, ...resume}, (link, connected) => {
      link.greet(connected);
      this.#userId = connected.user_id;
    });
  }
}
