/** What an operator can do in a room: each action that takes something away asks before. */

import {ask, field} from "./dialogs.js";
import {element} from "./element.js";
import {counted} from "./format.js";

/** @typedef {import("./api.js").Kind} Kind */
/** @typedef {{kind: Kind, id: string}} Whom */

const BANS = /** @type {const} */ ([
  [0, "No ban: may join again at once"],
  [600, "10 minutes"],
  [3600, "1 hour"],
  [86_400, "1 day"],
  [604_800, "1 week"],
  [2_592_000, "30 days"],
]);

export class RoomActions {
  #api;
  #done;

  /** @param {import("./api.js").Api} api @param {(what: string) => void} done is told what happened, in a sentence */
  constructor(api, done) {
    this.#api = api;
    this.#done = done;
  }

  /** @param {string} room @param {Whom} whom */
  kick(room, {kind, id}) {
    const bans = BANS.map(([seconds, label]) => element("option", {value: seconds}, label));
    ask({
      title: `Kick ${id}?`,
      text: kind === "user" ? `All connections of user ${id} are removed from room ${room}.` : `Peer ${id} is removed from room ${room}.`,
      fields: [messageField("To the person, who is shown why"), field("Ban", element("select", {name: "ban"}, ...bans))],
      action: "Kick",
      danger: true,
      perform: async (form) => {
        const seconds = Number(form.get("ban"));
        const {removed} = await this.#api.kick(room, kind, id, {...words(form), ban_seconds: seconds});
        this.#done(`${id} ${removed ? "was kicked" : "had left already"}${seconds ? " and is banned" : ""}.`);
      },
    });
  }

  /** @param {string} room @param {number} members */
  close(room, members) {
    ask({
      title: "Close this room?",
      text: `${counted(members, "connection")} will be removed from room ${room}. Clients may join again, unless it is locked.`,
      fields: [messageField("To the members, who are shown why")],
      action: "Close the room",
      danger: true,
      perform: async (form) => {
        const {closed} = await this.#api.close(room, words(form));
        this.#done(closed ? `Room ${room} was closed.` : `Nobody was in room ${room} any more.`);
      },
    });
  }

  /** @param {string} room @param {Whom | null} to everybody if null */
  send(room, to) {
    const text = element("textarea", {name: "text", rows: 4, required: true, maxlength: 8000});
    const json = element("label", {class: "check"}, element("input", {type: "checkbox", name: "json"}), " Send as JSON");
    ask({
      title: to ? `Message to ${to.id}` : "Message to all members",
      text: `Clients receive an announcement in room ${room}.`,
      fields: [field("Message", text, "Text is sent as {\"text\": …}."), json],
      action: "Send",
      perform: async (form) => {
        const {sent} = await this.#api.send(room, contentOf(form), to);
        const whom = to ? to.id : "all members";
        this.#done(sent ? `The message was sent to ${whom}.` : `The message was sent to nobody: ${to ? `${to.id} has left` : "the room is empty"}.`);
      },
    });
  }

  /** @param {string} room @param {boolean} locked */
  async lock(room, locked) {
    const found = await this.#api.lock(room, locked);
    this.#done(found.locked ? `Room ${room} is locked: only moderators can join.` : `Room ${room} is not locked.`);
  }

  /** @param {string} room @param {Whom} whom */
  async unban(room, {kind, id}) {
    await this.#api.unban(room, kind, id);
    this.#done(`${id} is not banned any more.`);
  }
}

/** @param {string} hint */
const messageField = (hint) => field("Message (optional)", element("input", {name: "message", maxlength: 500, autocomplete: "off"}), hint);

/** @param {FormData} form */
function words(form) {
  const message = String(form.get("message")).trim();
  return message ? {message} : {};
}

/** @param {FormData} form */
function contentOf(form) {
  const text = String(form.get("text"));
  if (!form.get("json")) return {text};
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`This is not JSON: ${error instanceof Error ? error.message : error}.`);
  }
}
