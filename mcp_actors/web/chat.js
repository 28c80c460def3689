/** Chat between the users of a room, over /ws/mcp/. */

import {RoomConnection} from "./connection.js";
import {emit} from "./transport.js";

const RETURN_TIMEOUT = 45_000; // milliseconds that others get to rejoin after an outage: longer than the pauses of their reconnects

/**
 * One user in one room.
 *
 * Events: "message" {sender, verified, content}, "user-joined" {user_id, metadata}, "user-left" {user_id}, "rejoined" (the
 * `room-joined` payload, after a reconnect in which messages were missed), and those of Connection. Content, ids and metadata
 * come from strangers; agents have `agent: true` in their metadata. After an outage a user who rejoins in time is reported
 * neither as left nor as joined.
 */
export class Chat extends RoomConnection {
  #userId;
  #users = new Set();
  #missing = []; // users that may still rejoin
  #timer = 0;

  /**
   * @param {string | URL} url of /ws/mcp/
   * @param {string} userId
   * @param {object} [options] those of Connection
   */
  constructor(url, userId, options = {}) {
    super(url, {join: "join-room", leave: "leave-room"}, options);
    this.#userId = userId;
  }

  /** Whether a message can be sent to the room now. */
  get ready() {
    return this.state === "open" && this.room !== null;
  }

  /**
   * Joins a room, and leaves the previous one; connects first if necessary.
   * @returns {Promise<{users: {user_id: string, metadata?: object}[]}>}
   */
  async join(room) {
    return this.enter(room, {}, ({users}) => {
      this.#forgetMissing();
      this.#users = new Set(users.map((user) => user.user_id));
    });
  }

  async leave() {
    this.#forgetMissing();
    await super.leave();
  }

  /**
   * Sends a message to everybody else in the room.
   * @param {*} content any JSON value except null
   */
  async say(content) {
    await this.request("message", this.room ?? "", {content});
  }

  async restore(ask) {
    const room = this.room;
    const connected = await ask("connect", undefined, {user_id: this.#userId, ...(room === null ? {} : this.resumeFields())});
    this.updateSession(connected);
    if (room === null) return undefined;
    if (connected.resumed && room === this.room) return undefined; // if messages are missing, the server sends the roster
    if (connected.resumed) await ask("leave-room", room).catch(() => {});
    if (room !== this.room) return undefined; // leave() was called meanwhile
    const joined = await ask("join-room", room);
    if (room !== this.room) {
      await ask("leave-room", room);
      return undefined;
    }
    this.#compareRoster(joined);
    return new CustomEvent("rejoined", {detail: joined});
  }

  receive({type, room, sender, verified, payload}) {
    if (room !== this.room) return;
    if (type === "message") emit(this, "message", {sender, verified, content: payload.content});
    else if (type === "user-joined") this.#joined(payload);
    else if (type === "user-left") this.#left(payload.user_id);
    else if (type === "room-joined") {
      this.#compareRoster(payload);
      emit(this, "rejoined", payload);
    }
  }

  #joined({user_id, metadata}) {
    this.#missing = this.#missing.filter((missing) => missing !== user_id);
    if (this.#users.has(user_id)) return;
    this.#users.add(user_id);
    emit(this, "user-joined", {user_id, metadata});
  }

  #left(userId) {
    if (this.#users.delete(userId)) emit(this, "user-left", {user_id: userId});
  }

  /** Reports what has changed meanwhile. Others may have lost their connections, too, and get time to rejoin. */
  #compareRoster({users}) {
    this.#forgetMissing();
    const present = new Set(users.map((user) => user.user_id));
    this.#missing = [...this.#users].filter((userId) => !present.has(userId));
    for (const user of users) this.#joined(user);
    this.#timer = setTimeout(() => this.ready && this.#missing.splice(0).forEach((userId) => this.#left(userId)), RETURN_TIMEOUT);
  }

  #forgetMissing() {
    clearTimeout(this.#timer);
    this.#missing = [];
  }
}
