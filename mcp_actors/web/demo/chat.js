/** The chat between the users of a room: what the page shows of it, whatever happens to the connection. */

const RETURN_TIMEOUT = 45_000; // milliseconds that others get to rejoin after an outage: longer than the pauses of their reconnects

const emit = (target, type, detail) => target.dispatchEvent(new CustomEvent(type, {detail}));

/**
 * Events: "message" {sender, content}, "user-joined" (the user), "user-left" {userId, reason}, "interrupted", "restored" and "ended". After
 * an outage a user who rejoins in time is reported neither as left nor as joined.
 */
export class Chat extends EventTarget {
  #userId;
  #connection = null;
  #room = null;
  #known = new Set(); // the ids of users
  #missing = []; // those that may still rejoin
  #timer = 0;

  /** @param {string} userId of this page */
  constructor(userId) {
    super();
    this.#userId = userId;
  }

  /** Whether a message can be sent to the room now. */
  get ready() {
    return this.#room !== null && this.#connection.state === "open";
  }

  /** The other users. @returns {import("../client/index.js").User[]} */
  get users() {
    return [...(this.#room?.users.values() ?? [])].filter(({userId}) => userId !== this.#userId);
  }

  /**
   * Chats in a room until the signal is aborted.
   * @param {import("../client/index.js").UserConnection} connection
   * @param {import("../client/index.js").UserRoom} room
   * @param {AbortSignal} signal
   */
  use(connection, room, signal) {
    this.#connection = connection;
    this.#room = room;
    this.#known = new Set(room.users.keys());
    signal.addEventListener("abort", () => this.#end());
    room.addEventListener("message", ({detail}) => emit(this, "message", detail), {signal});
    room.addEventListener("user-joined", ({detail}) => this.#joined(detail), {signal});
    room.addEventListener("user-left", ({detail}) => this.#left(detail), {signal});
    room.addEventListener("rejoined", () => this.#compare(), {signal});
    connection.addEventListener("reconnecting", () => emit(this, "interrupted"), {signal});
    connection.addEventListener("open", () => emit(this, "restored"), {signal});
  }

  /** Sends a message to everybody else. @param {unknown} content any JSON value except null */
  async say(content) {
    await this.#room.send(content);
  }

  #end() {
    clearTimeout(this.#timer);
    this.#missing = [];
    this.#room = null;
    emit(this, "ended");
  }

  #joined(user) {
    this.#missing = this.#missing.filter((missing) => missing !== user.userId);
    if (this.#known.has(user.userId)) return;
    this.#known.add(user.userId);
    emit(this, "user-joined", user);
  }

  #left(detail) {
    if (this.#known.delete(detail.userId)) emit(this, "user-left", detail);
  }

  /** Reports what has changed meanwhile. Others may have lost their connections, too, and get time to rejoin. */
  #compare() {
    clearTimeout(this.#timer);
    const {users} = this.#room;
    this.#missing = [...this.#known].filter((userId) => !users.has(userId));
    for (const user of users.values()) this.#joined(user);
    this.#timer = setTimeout(() => this.ready && this.#giveUpMissing(), RETURN_TIMEOUT);
  }

  #giveUpMissing() {
    for (const userId of this.#missing.splice(0)) this.#left({userId, reason: "timeout"});
  }
}
