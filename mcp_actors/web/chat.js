/** Chat between the users of a room, over /ws/mcp/. */

import {Connection, emit} from "./signaling.js";

/**
 * One user in one room.
 *
 * Events: "message" {sender, content}, "user-joined" {user_id}, "user-left" {user_id, reason}, "rejoined" (the `room-joined`
 * payload), and those of Connection. Content and ids come from strangers.
 */
export class Chat extends Connection {
  #userId;
  #room = null;

  /**
   * @param {string | URL} url of /ws/mcp/
   * @param {string} userId who we are
   */
  constructor(url, userId) {
    super(url);
    this.#userId = userId;
  }

  /** The room joined, or null. */
  get room() {
    return this.#room;
  }

  /**
   * Joins a room, connecting first where needed; a room joined before is left.
   * @returns {Promise<{users: {user_id: string}[]}>}
   */
  async join(room) {
    await this.leave();
    await this.connect();
    const joined = await this.request("join-room", room);
    this.#room = room;
    return joined;
  }

  /** Leaves the room; the connection stays open. */
  async leave() {
    const room = this.#room;
    this.#room = null;
    if (room !== null) await this.request("leave-room", room).catch(() => {});
  }

  /**
   * Says something to everybody else in the room.
   * @param {*} content any JSON value but null
   */
  async say(content) {
    await this.request("message", this.#room ?? "", {content});
  }

  /** @override */
  async restore() {
    await this.request("connect", undefined, {user_id: this.#userId});
    const room = this.#room;
    if (room === null) return undefined;
    const joined = await this.request("join-room", room);
    return room === this.#room ? new CustomEvent("rejoined", {detail: joined}) : undefined;
  }

  /** @override */
  receive({type, room, sender, payload}) {
    if (room !== this.#room) return;
    if (type === "message") emit(this, "message", {sender, content: payload.content});
    else if (type === "user-joined" || type === "user-left") emit(this, type, payload);
  }
}
