/** A room in which this client is a user. */

import {BaseRoom} from "./base-room.js";
import {emit} from "./events.js";
import {camel, userOf} from "./messages.js";

/** @import {CommonEvents} from "./base-room.js" */
/** @import {Message, Payload, User} from "./messages.js" */

/**
 * What `detail` is in the events of a room.
 * @typedef {object} UserEvents
 * @property {{sender: string, content: unknown, verified: boolean}} message
 * @property {User} user-joined
 * @property {User} user-updated
 * @property {{userId: string, reason: string}} user-left
 */

/** @typedef {CommonEvents & UserEvents} UserRoomEvents */

/**
 * Messages to everybody in a room.
 * @extends {BaseRoom<UserRoomEvents>}
 */
export class UserRoom extends BaseRoom {
  /** @type {Map<string, User>} */
  #users = new Map();

  /** The users of the room by their ids, including this one. @returns {ReadonlyMap<string, User>} */
  get users() {
    return this.#users;
  }

  /**
   * Sends any JSON value but null to all other users, and to this user's other connections.
   * @param {unknown} content
   */
  async send(content) {
    await this.request("message", {content});
  }

  /**
   * @param {Payload} reply
   * @override
   * @internal
   */
  show(reply) {
    super.show(reply);
    this.#users.clear();
    for (const user of reply.users ?? []) this.#users.set(user.user_id, userOf(user));
  }

  /**
   * @param {Message} message
   * @param {Payload} payload
   * @override
   * @internal
   */
  handle(message, payload) {
    const {type, sender, verified = false} = message;
    const {user_id, metadata = {}, content} = payload;
    switch (type) {
      case "message":
        return emit(this, type, {sender, content, verified});
      case "user-joined":
        this.#users.set(user_id, userOf(payload));
        return emit(this, type, this.#users.get(user_id));
      case "user-left":
        this.#users.delete(user_id);
        return emit(this, type, camel(payload));
      case "user-updated": {
        const user = this.#users.get(user_id);
        if (user) emit(this, type, Object.assign(user, {metadata}));
        return;
      }
      case "room-joined": // messages are missing
        return this.rejoined(payload, true, false);
      default:
        super.handle(message, payload);
    }
  }
}
