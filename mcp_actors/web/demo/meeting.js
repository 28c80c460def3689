/** The call and the chat of one room, as the page needs them: who is there, in which state, and why it has ended. */

import {Call} from "../client/call.js";
import {Connection, UserConnection} from "../client/index.js";
import {Chat} from "./chat.js";
import {cleanName} from "./names.js";
import {personOf} from "./person.js";
import {describeClose, describeEnd, describeError} from "./wording.js";

/** @import {Person} from "./person.js" */
/** @import {Visit} from "./visit.js" */

const RETRY_DELAY = 1000; // milliseconds
const TOKEN_NEEDED = new Set([4502, 4503]); // close codes
const OUR_OWN = new Set(["left", "closed"]); // codes of the end of rooms: "close" of the connection says more

const emit = (target, type, detail) => target.dispatchEvent(new CustomEvent(type, {detail}));

/**
 * Events: "changed" (`state`, `connection`, `retryAt`, `waiting` or `locked`), "person" (a Person is there or has changed),
 * "person-left" {id}, "joined", and "ended" {text, needsToken}.
 */
export class Meeting extends EventTarget {
  /** Of this page; it may be mounted below any path. */
  #url = new URL(".", location.href);
  #visit;
  #media;
  #stop = new AbortController();
  #left = Promise.resolve(); // settled when the last room was left: only then is the id free
  #names = new Map(); // of those who are no longer in the room, though their media flows
  #told = ""; // the metadata that the others know
  #telling = false;
  /** @type {import("../client/index.js").Room | null} */
  #room = null;
  #userRoom = null;
  #call = null;
  #connection = null;
  #users = null;
  #lastError = null; // of the server, and not the answer to a request

  /**
   * @param {Visit} visit
   * @param {import("./media.js").LocalMedia} media
   */
  constructor(visit, media) {
    super();
    this.#visit = visit;
    this.#media = media;
    this.chat = new Chat(visit.id);
    /** @type {"out" | "joining" | "in"} */
    this.state = "out";
    /** Why it is still joining, in a sentence; or empty. */
    this.waiting = "";
    /** When the next attempt to connect begins, as `Date.now()`; or 0. */
    this.retryAt = 0;
    this.locked = false;
    media.addEventListener("changed", () => this.#send());
  }

  /** @type {"closed" | "connecting" | "open" | "reconnecting"} */
  get connection() {
    return this.#connection?.state ?? "closed";
  }

  /** @returns {Person[]} */
  get people() {
    return [...(this.#call?.pairs.values() ?? [])].map((pair) => this.#person(pair));
  }

  /** The parts of the package in use, for tests and for the console of the browser. */
  get parts() {
    return {connection: this.#connection, room: this.#room, call: this.#call, users: this.#users, userRoom: this.#userRoom};
  }

  /** Joins the room of the visit; "changed" and "ended" tell what becomes of it. */
  async join() {
    if (this.state !== "out") return;
    const stop = (this.#stop = new AbortController());
    this.#set({state: "joining", waiting: "", retryAt: 0});
    const name = this.#visit.room;
    try {
      await this.#left;
      this.#connect(stop);
      await this.#enter(name, stop.signal);
      const userRoom = await this.#retry(() => this.#users.join(name, {signal: stop.signal}), stop.signal);
      this.#enterChat(userRoom, stop.signal);
    } catch (error) {
      if (!stop.signal.aborted) this.#refused(error, name);
    }
  }

  /** Leaves, or stops joining. `text` and `needsToken` are for "ended". */
  leave(text = "", needsToken = false) {
    if (this.state === "out") return;
    const {people} = this;
    this.#stop.abort(new Error("left"));
    this.#left = this.#hangUp();
    for (const {id} of people) this.#forget(id);
    this.#room = this.#userRoom = this.#call = null;
    Object.assign(this, {state: "out", waiting: "", retryAt: 0, locked: false});
    emit(this, "ended", {text, needsToken});
  }

  /** Leaves at once, as the page goes away. */
  abandon() {
    for (const room of [this.#room, this.#userRoom]) room?.leave();
  }

  /** Tries to connect now, and not only when the pause is over. */
  tryNow() {
    for (const connection of [this.#connection, this.#users]) connection?.reconnect();
    this.#call?.restart();
  }

  /** Tells the others the name, and what is sent. */
  async tell() {
    if (this.#telling) return;
    this.#telling = true;
    for (let text = this.#metadata(); this.#room && text !== this.#told; text = this.#metadata()) {
      this.#told = text;
      await this.#room.update(JSON.parse(text)).catch(() => {});
    }
    this.#telling = false;
  }

  /* For moderators */

  async setLocked(locked) {
    await (locked ? this.#room.lock() : this.#room.unlock());
  }

  async closeRoom(message) {
    await this.#room.close({message});
  }

  /** Removes a person from the call and the chat. */
  async remove(id, options) {
    await this.#room.kick(id, options);
    await this.#userRoom?.kick({userId: id}, options).catch(() => {}); // usually it has left the chat, too
  }

  #metadata() {
    return JSON.stringify({name: this.#visit.name, audible: this.#media.audible});
  }

  #set(fields) {
    Object.assign(this, fields);
    emit(this, "changed");
  }

  #connect({signal}) {
    const {token, id} = this.#visit;
    this.#connection = new Connection(this.#url, {token});
    this.#users = new UserConnection(this.#url, {token, userId: id});
    const options = {signal};
    this.#connection.addEventListener("open", () => this.#set({retryAt: 0}), options);
    this.#connection.addEventListener("reconnecting", ({detail: {delay}}) => this.#set({retryAt: Date.now() + delay}), options);
    this.#lastError = null;
    for (const connection of [this.#connection, this.#users]) {
      connection.addEventListener("error", ({detail}) => (this.#lastError = detail), options);
      connection.addEventListener("close", ({detail: {code}}) => this.#closed(code), options);
    }
  }

  async #enter(name, signal) {
    this.#told = this.#metadata();
    const options = {peerId: this.#visit.id, metadata: JSON.parse(this.#told), presence: true, signal};
    const room = (this.#room = await this.#retry(() => this.#connection.join(name, options), signal));
    this.#call = new Call(room, {audio: this.#media.audio, video: this.#media.video});
    this.#listen(room, this.#call, {signal});
    this.#visit.name = cleanName(room.metadata.name, this.#visit.name); // the application of the server may know it better
    this.#set({state: "in", waiting: "", locked: room.locked});
    this.#send();
  }

  #enterChat(userRoom, signal) {
    this.#userRoom = userRoom;
    userRoom.addEventListener("ended", ({detail}) => this.#ended(detail), {signal});
    this.chat.use(this.#users, userRoom, signal);
    this.#set({waiting: ""});
    emit(this, "joined");
  }

  #listen(room, call, options) {
    for (const type of ["pair-added", "pair-changed"]) {
      call.addEventListener(type, ({detail: pair}) => emit(this, "person", this.#person(pair)), options);
    }
    call.addEventListener("pair-removed", ({detail: {peerId}}) => this.#forget(peerId), options);
    room.addEventListener("lock-changed", ({detail: {locked}}) => this.#set({locked}), options);
    room.addEventListener("rejoined", () => this.#set({locked: room.locked}), options);
    room.addEventListener("ended", ({detail}) => this.#ended(detail), options);
  }

  #forget(id) {
    this.#names.delete(id);
    emit(this, "person-left", {id});
  }

  #person(pair) {
    const person = personOf(pair, this.#names.get(pair.peerId));
    this.#names.set(person.id, person.name);
    return person;
  }

  #send() {
    const {audio, video, shared} = this.#media;
    this.#call?.replaceTrack("audio", audio);
    this.#call?.replaceTrack("video", video);
    this.#call?.replaceTrack("screen", shared?.getVideoTracks()[0] ?? null);
    this.tell();
  }

  async #hangUp() {
    const [connection, users] = [this.#connection, this.#users];
    this.#call?.close();
    await Promise.allSettled([this.#room?.leave(), this.#userRoom?.leave()]);
    connection?.close();
    users?.close();
    emit(this, "changed");
  }

  #ended(ended) {
    if (!OUR_OWN.has(ended.code)) this.leave(describeEnd(ended, this.#visit.room), ended.code === "unauthorized");
  }

  #closed(code) {
    if (this.state === "in") this.leave(describeClose(code), TOKEN_NEEDED.has(code));
  }

  /** The join has failed; the server may have said more before it closed the connection. */
  #refused(error, room) {
    const cause = error.code === "closed" ? (this.#lastError ?? error) : error;
    const needsToken = cause.code === "unauthorized" || TOKEN_NEEDED.has(cause.details?.code);
    const lacksToken = needsToken && !this.#visit.token;
    this.leave(lacksToken ? "This server lets you in with an access token only." : describeError(cause, room), needsToken);
  }

  /** Repeats an action while its error is retryable, for example because the server is full, and says so meanwhile. */
  async #retry(action, signal) {
    for (;;) {
      try {
        return await action();
      } catch (error) {
        if (!error.retryable || error.code === "peer-id-taken" || signal.aborted) throw error; // the client has retried its own id
        this.#set({waiting: describeError(error)});
        await new Promise((resolve) => setTimeout(resolve, RETRY_DELAY));
        signal.throwIfAborted();
      }
    }
  }
}
