/** The chat on the page. Its content comes from strangers and is always set as text. */

import {$, fromTemplate} from "./element.js";
import {cleanName, hueOf} from "./names.js";
import {departure, describeError} from "./wording.js";

const MAX_ENTRIES = 300;
const MAX_NAMES = 1000;
const SHOW_WAITING_AFTER = 1000; // milliseconds
// Codes of errors after which a message has certainly reached nobody.
const NOT_SENT = new Set([
  ...["connection-lost", "message-too-big", "bad-message", "rate-limited"],
  ...["forbidden", "unauthorized", "not-in-room", "not-connected", "left"],
]);

const isAgent = ({metadata}) => metadata?.agent === true;

/** Whether a message that failed reached the others, as far as one can know. */
function fateOf(error) {
  if (NOT_SENT.has(error.code)) return `not sent: ${describeError(error)}`;
  return error.code === "unavailable" ? "may not have reached everybody" : "may not have arrived";
}

/** Shows the messages of a Chat, and sends what the person types. Event "message": somebody else has written. */
export class ChatPanel extends EventTarget {
  #chat;
  #visit;
  #names = new Map(); // of those who are or were in the room, by id
  #interrupted = false;

  /**
   * @param {import("./chat.js").Chat} chat
   * @param {{id: string, name: string}} visit
   */
  constructor(chat, visit) {
    super();
    this.#chat = chat;
    this.#visit = visit;
    chat.addEventListener("message", ({detail: {sender, content}}) => {
      this.#showMessage(sender, content);
      this.dispatchEvent(new Event("message"));
    });
    chat.addEventListener("user-joined", ({detail}) => this.showNotice(isAgent(detail) ? "joined as an agent." : "joined.", detail.userId));
    chat.addEventListener("user-left", ({detail}) => this.showNotice(departure(detail.reason), detail.userId));
    chat.addEventListener("interrupted", () => this.#showInterruption(true));
    chat.addEventListener("restored", () => this.#showInterruption(false));
    chat.addEventListener("ended", () => (this.#interrupted = false));
    $("chat-form").addEventListener("submit", (event) => {
      event.preventDefault();
      if (!chat.ready) return; // keeps the text
      const text = $("chat-input").value.trim();
      $("chat-input").value = "";
      if (text) this.#say(text);
    });
    this.refresh();
  }

  /** While the chat is reconnecting, the person can type but not send. */
  refresh() {
    $("chat-send").disabled = !this.#chat.ready;
  }

  /** The name of somebody, from now on and in what is shown already. */
  name(id, name) {
    if (this.#names.get(id) === name) return;
    this.#names.delete(id);
    this.#names.set(id, name);
    if (this.#names.size > MAX_NAMES) this.#names.delete(this.#names.keys().next().value);
    for (const author of $("chat-entries").querySelectorAll(".author")) {
      if (author.dataset.userId === id) author.textContent = name;
    }
  }

  /** Names the agents among the users of the room: they read along, and have no tile. */
  showAgents() {
    for (const user of this.#chat.users) if (isAgent(user)) this.showNotice("is here as an agent.", user.userId);
  }

  /** Shows a notice, about a user or in general. */
  showNotice(text, userId = undefined) {
    const entry = fromTemplate("notice-template");
    if (userId !== undefined) this.#showAuthor(entry, userId, userId);
    entry.querySelector(".text").textContent = text;
    this.#append(entry);
  }

  #showInterruption(interrupted) {
    this.refresh();
    if (interrupted === this.#interrupted) return;
    this.#interrupted = interrupted;
    this.showNotice(interrupted ? "The chat is disconnected and reconnects." : "The chat is connected again.");
  }

  async #say(text) {
    const content = {name: this.#visit.name, text};
    const entry = this.#showMessage(this.#visit.id, content);
    const note = entry.querySelector(".status-note");
    const timer = setTimeout(() => (note.textContent = "waiting for the server"), SHOW_WAITING_AFTER);
    try {
      await this.#chat.say(content);
      note.textContent = "";
    } catch (error) {
      entry.classList.add("failed");
      note.textContent = fateOf(error);
    } finally {
      clearTimeout(timer);
    }
  }

  /** The content is {name, text} from pages like this one, and any JSON from other clients. */
  #showMessage(userId, content) {
    const entry = fromTemplate("message-template");
    const text = typeof content === "string" ? content : content?.text;
    entry.style.setProperty("--hue", hueOf(userId));
    entry.classList.toggle("own", userId === this.#visit.id);
    this.#showAuthor(entry, userId, cleanName(content?.name, userId));
    entry.querySelector("time").textContent = new Date().toLocaleTimeString([], {hour: "2-digit", minute: "2-digit"});
    entry.querySelector(".text").textContent = typeof text === "string" ? text : JSON.stringify(content);
    this.#append(entry);
    return entry;
  }

  #showAuthor(entry, userId, fallback) {
    const author = entry.querySelector(".author");
    author.dataset.userId = userId;
    author.textContent = this.#names.get(userId) ?? fallback;
  }

  #append(entry) {
    const log = $("chat-log");
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
    $("chat-entries").append(entry);
    while ($("chat-entries").children.length > MAX_ENTRIES) $("chat-entries").firstElementChild.remove();
    if (atEnd) log.scrollTop = log.scrollHeight;
  }
}
