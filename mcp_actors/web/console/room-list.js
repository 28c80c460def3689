/** The table of rooms: a part of all of them, which may be very many, at a time. */

import {byId, element, nameElement, setText} from "./element.js";
import {count, counted} from "./format.js";
import {KeyedRows} from "./keyed-rows.js";
import {Sorting} from "./sorting.js";

/** @typedef {import("./api.js").RoomSummary} RoomSummary */

export const PAGE = 100;

/** The address of a room's page. @param {string} room */
export const addressOf = (room) => `#/rooms/${encodeURIComponent(room)}`;

/** Event "change": other rooms are to be read, as `query` says. */
export class RoomList extends EventTarget {
  /** @type {(string | null)[]} the cursors of the pages up to the one that is shown */
  #cursors = [null];
  /** @type {import("./api.js").RoomPage} */
  #page = {rooms: [], next: null};
  #search = byId("search");
  #body = byId("rooms-body");
  #sorting = new Sorting(byId("rooms-head"), "name");
  #rows = new KeyedRows(this.#body, {keyOf: ({name}) => name, create: rowOf, update});
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #typing;

  constructor() {
    super();
    this.#sorting.addEventListener("change", () => this.#draw());
    this.#search.addEventListener("input", () => this.#typed());
    this.#search.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.#searchKey(event));
    this.#body.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.#rowKey(event));
    byId("next").addEventListener("click", () => this.#turn([...this.#cursors, this.#page.next]));
    byId("previous").addEventListener("click", () => this.#turn(this.#cursors.slice(0, -1)));
  }

  /** The rooms to be read. */
  get query() {
    return {prefix: this.#search.value.trimStart(), cursor: this.#cursors.at(-1) ?? null, limit: PAGE};
  }

  /** @param {import("./api.js").RoomPage} page that `query` asked for */
  show(page) {
    this.#page = page;
    this.#draw();
  }

  #draw() {
    const {rooms, next} = this.#page;
    this.#rows.show(this.#sorting.sorted(rooms.map((room) => ({...room, members: room.peers + room.users}))));
    const isPart = next !== null || this.#cursors.length > 1;
    const empty = this.query.prefix ? `No room has a name that begins with “${this.query.prefix}”.` : "There are no rooms with members.";
    setText(byId("rooms-empty"), empty);
    byId("rooms-empty").hidden = rooms.length > 0;
    byId("rooms-table").hidden = rooms.length === 0;
    setText(byId("rooms-count"), next === null && !isPart ? count(rooms.length) : "");
    byId("pager").hidden = !isPart;
    setText(byId("pager-text"), `Page ${this.#cursors.length}, in the order of names: ${counted(rooms.length, "room")}`);
    byId("next").disabled = next === null;
    byId("previous").disabled = this.#cursors.length === 1;
  }

  /** @param {(string | null)[]} cursors */
  #turn(cursors) {
    this.#cursors = cursors;
    this.dispatchEvent(new Event("change"));
  }

  #typed() {
    clearTimeout(this.#typing);
    this.#typing = setTimeout(() => this.#turn([null]), 200);
  }

  /** @param {KeyboardEvent} event */
  #searchKey(event) {
    const first = /** @type {HTMLElement | null} */ (this.#body.querySelector("a"));
    if (event.key === "Escape" && this.#search.value) {
      this.#search.value = "";
      this.#typed();
    } else if (event.key === "ArrowDown" && first) {
      first.focus();
    } else if (event.key === "Enter" && this.query.prefix) {
      location.hash = addressOf(this.query.prefix);
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  /** @param {KeyboardEvent} event */
  #rowKey(event) {
    const row = /** @type {HTMLElement} */ (event.target).closest("tr");
    const to = event.key === "ArrowDown" ? row?.nextElementSibling : event.key === "ArrowUp" ? row?.previousElementSibling : undefined;
    if (to === undefined) return;
    event.preventDefault();
    (to?.querySelector("a") ?? (event.key === "ArrowUp" ? this.#search : null))?.focus();
  }
}

/** @param {RoomSummary} room */
function rowOf({name}) {
  const link = element("a", {href: addressOf(name)}, nameElement(name));
  const numbers = ["Peers", "Users", "Members", "Nodes"].map((label) => element("td", {class: "numeric", "data-label": label}));
  const lock = element("span", {class: "badge"}, "locked");
  return element("tr", {}, element("th", {scope: "row"}, link, " ", lock), ...numbers);
}

/** @param {any} row @param {RoomSummary & {members: number}} room */
function update(row, {peers, users, members, nodes, locked}) {
  [peers, users, members, nodes].forEach((number, index) => setText(row.cells[index + 1], count(number)));
  row.querySelector(".badge").hidden = !locked;
}
