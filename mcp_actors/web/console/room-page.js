/** The page of one room. */

import {BanList} from "./ban-list.js";
import {byId, setText} from "./element.js";
import {counted} from "./format.js";
import {MemberList} from "./member-list.js";

export class RoomPage {
  /** The room that is shown; empty if none is. */
  name = "";
  #api;
  #actions;
  #attempt;
  #members = new MemberList();
  #bans = new BanList();
  /** @type {import("./api.js").Room | null} */
  #room = null;

  /**
   * @param {import("./api.js").Api} api
   * @param {import("./room-actions.js").RoomActions} actions
   * @param {(action: () => Promise<void>) => void} attempt does something, and shows why if it fails
   */
  constructor(api, actions, attempt) {
    this.#api = api;
    this.#actions = actions;
    this.#attempt = attempt;
    this.#members.addEventListener("kick", (/** @type {any} */ {detail}) => actions.kick(this.name, detail));
    this.#members.addEventListener("message", (/** @type {any} */ {detail}) => actions.send(this.name, detail));
    this.#bans.addEventListener("unban", (/** @type {any} */ {detail}) => attempt(() => actions.unban(this.name, detail)));
    byId("lock").addEventListener("click", () => this.#lock());
    byId("message").addEventListener("click", () => actions.send(this.name, null));
    byId("close").addEventListener("click", () => actions.close(this.name, this.#room?.members.length ?? 0));
  }

  /** Shows another room, or none. @param {string} name */
  open(name) {
    if (name === this.name) return;
    this.name = name;
    this.#room = null;
    setText(byId("room-name"), name);
    setText(byId("room-summary"), "Reading …");
    byId("room-locked").hidden = true;
    this.#members.clear();
    byId("members-empty").hidden = true;
    this.#bans.show([]);
  }

  async read() {
    const name = this.name;
    const room = await this.#api.room(name);
    if (name !== this.name) return; // the operator went elsewhere
    this.#room = room;
    this.#show(room);
  }

  /** @param {import("./api.js").Room} room */
  #show({members, bans, locked}) {
    const peers = members.filter(({kind}) => kind === "peer").length;
    const nodes = new Set(members.map(({node}) => node)).size;
    const parts = [counted(peers, "peer"), counted(members.length - peers, "user connection"), counted(nodes, "node")];
    setText(byId("room-summary"), members.length ? parts.join(" · ") : "empty");
    byId("room-locked").hidden = !locked;
    setText(byId("lock"), locked ? "Unlock" : "Lock");
    for (const id of ["lock", "message", "close"]) byId(id).disabled = members.length === 0;
    this.#members.show(members);
    this.#bans.show(bans);
  }

  #lock() {
    const locked = !this.#room?.locked;
    this.#attempt(() => this.#actions.lock(this.name, locked));
  }
}
