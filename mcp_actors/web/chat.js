/** Chat between the users of a room, over /ws/mcp/. */

import {Connection, emit} from "./signaling.js";

const AWAY_FOR = 45_000; // milliseconds in which others come back after the server was away: longer than they pause

/**
 * One user in one room.
 *
 * Events: "message" {sender, content}, "user-joined" {user_id}, "user-left" {user_id}, "rejoined" (the `room-joined` payload,
 * after a reconnect in which something was missed), and those of Connection. Content and ids come from strangers. Who was here
 * before our connection was lost and is, or soon comes, back after it, has not joined; who does not, has left.
 */
export class Chat extends Connection {
  #userId;
  #room = null;
  #users = new Set();
  #awaited = [];
  #timer = 0;

  /**
   * @param {string | URL} url of /ws/mcp/
   * @param {string} userId who we are
   * @param {object} [options] as of Connection
   */
  constructor(url, userId, options = {}) {
    super(url, options);
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
    await this.renewed();
    const joined = await this.request("join-room", room, {}, {lasting: false});
    this.#room = room;
    this.#users = new Set(joined.users.map((user) => user.user_id));
    return joined;
  }

  /** Whether what is said now reaches the room. */
  get ready() {
    return this.state === "open" && this.#room !== null;
  }

  /** Leaves the room; the connection stays open. */
  async leave() {
    const room = this.#room;
    this.#room = null;
    this.#forgetAwaited();
    if (room !== null && this.state === "open") await this.request("leave-room", room, {}, {lasting: false}).catch(() => {});
  }

  /**
   * Says something to everybody else in the room.
   * @param {*} content any JSON value but null
   */
  async say(content) {
    await this.request("message", this.#room ?? "", {content});
  }

  /** @override */
  async restore(ask) {
    const room = this.#room;
    const connected = await ask("connect", undefined, {user_id: this.#userId, ...(room === null ? {} : this.resuming())});
    this.greeted(connected);
    if (room === null) return undefined;
    const left = room !== this.#room; // meanwhile
    if (connected.resumed && !left) return undefined; // where something is missing, the server tells the roster by itself
    if (connected.resumed) await ask("leave-room", room).catch(() => {});
    if (left) return undefined;
    const joined = await ask("join-room", room);
    if (room !== this.#room) {
      await ask("leave-room", room);
      return undefined;
    }
    this.#compare(joined.users.map((user) => user.user_id));
    return new CustomEvent("rejoined", {detail: joined});
  }

  /** @override */
  receive({type, room, sender, payload}) {
    if (room !== this.#room) return;
    if (type === "message") emit(this, "message", {sender, content: payload.content});
    else if (type === "user-joined") this.#came(payload.user_id);
    else if (type === "user-left") this.#went(payload.user_id);
    else if (type === "room-joined") {
      this.#compare(payload.users.map((user) => user.user_id));
      emit(this, "rejoined", payload);
    }
  }

  #came(userId) {
    this.#awaited = this.#awaited.filter((awaited) => awaited !== userId);
    if (this.#users.has(userId)) return;
    this.#users.add(userId);
    emit(this, "user-joined", {user_id: userId});
  }

  #went(userId) {
    if (this.#users.delete(userId)) emit(this, "user-left", {user_id: userId});
  }

  /** Tells what has changed while we were away; others may have lost their connections too, and get some time. */
  #compare(present) {
    this.#forgetAwaited();
    const awaited = new Set(this.#users);
    for (const userId of present) {
      awaited.delete(userId);
      this.#came(userId);
    }
    this.#awaited = [...awaited];
    this.#timer = setTimeout(() => this.ready && this.#awaited.splice(0).forEach((userId) => this.#went(userId)), AWAY_FOR);
  }

  #forgetAwaited() {
    clearTimeout(this.#timer);
    this.#awaited = [];
  }
}
