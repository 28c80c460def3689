/** The chat on the page. Its content comes from strangers and is always set as text. */

import {cleanName, hueOf} from "./names.js";
import {fromTemplate} from "./people.js";

const MAX_ENTRIES = 300;
const SHOW_WAITING_AFTER = 1000; // milliseconds
const MAY_HAVE_ARRIVED = new Set(["unknown", "timeout", "closed"]); // codes of errors

const [form, input, button, log] = ["form", "input", "send", "log"].map((name) => document.getElementById(`chat-${name}`));

const isAgent = ({metadata}) => metadata?.agent === true;

/** Shows the messages of a Chat, and sends what the person types. */
export class ChatPanel {
  #chat;
  #people;
  #self;
  #enabled = false;
  #interrupted = false;

  /**
   * @param {import("./chat.js").Chat} chat
   * @param {import("./people.js").People} people knows the names
   * @param {{id: string, name: string}} self
   */
  constructor(chat, people, self) {
    this.#chat = chat;
    this.#people = people;
    this.#self = self;
    chat.addEventListener("message", ({detail: {sender, content}}) => this.#showMessage(sender, content));
    chat.addEventListener("user-joined", ({detail}) => this.showNotice(isAgent(detail) ? "joined as an agent." : "joined.", detail.user_id));
    chat.addEventListener("user-left", ({detail}) => this.showNotice("left.", detail.user_id));
    chat.addEventListener("reconnecting", () => this.#showInterruption(true));
    chat.addEventListener("open", () => this.#showInterruption(false));
    people.addEventListener("named", ({detail}) => this.#rename(detail.id, detail.name));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (!chat.ready) return; // keeps the text
      const text = input.value.trim();
      input.value = "";
      if (text) this.#say(text);
    });
  }

  /** Whether the person may type. */
  set enabled(enabled) {
    this.#enabled = enabled;
    if (!enabled) this.#interrupted = false;
    this.refresh();
  }

  /** While the chat is reconnecting, the person can type but not send. */
  refresh() {
    input.disabled = !this.#enabled;
    button.disabled = !this.#enabled || !this.#chat.ready;
  }

  /** Names the agents among the users of the room: they read along, and have no tile. */
  showAgents(users) {
    for (const user of users) if (isAgent(user)) this.showNotice("is here as an agent.", user.user_id);
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
    if (interrupted === this.#interrupted || this.#chat.room === null) return;
    this.#interrupted = interrupted;
    this.showNotice(interrupted ? "The chat is disconnected and reconnects." : "The chat is connected again.");
  }

  async #say(text) {
    const content = {name: this.#self.name, text};
    const entry = this.#showMessage(this.#self.id, content);
    const note = entry.querySelector(".status-note");
    const timer = setTimeout(() => (note.textContent = "waiting for the server"), SHOW_WAITING_AFTER);
    try {
      await this.#chat.say(content);
      note.textContent = "";
    } catch (error) {
      entry.classList.add("failed");
      note.textContent = MAY_HAVE_ARRIVED.has(error.code) ? "may not have arrived" : `not sent: ${error.message}`;
    } finally {
      clearTimeout(timer);
    }
  }

  /** The content is {name, text} from pages like this one, and any JSON from other clients. */
  #showMessage(userId, content) {
    const entry = fromTemplate("message-template");
    const text = typeof content === "string" ? content : content?.text;
    entry.style.setProperty("--hue", hueOf(userId));
    entry.classList.toggle("own", userId === this.#self.id);
    this.#showAuthor(entry, userId, cleanName(content?.name, userId));
    entry.querySelector("time").textContent = new Date().toLocaleTimeString([], {hour: "2-digit", minute: "2-digit"});
    entry.querySelector(".text").textContent = typeof text === "string" ? text : JSON.stringify(content);
    this.#append(entry);
    return entry;
  }

  #showAuthor(entry, userId, fallback) {
    const author = entry.querySelector(".author");
    author.dataset.userId = userId;
    author.textContent = this.#people.nameOf(userId) ?? fallback;
  }

  #rename(userId, name) {
    for (const author of log.querySelectorAll(".author")) if (author.dataset.userId === userId) author.textContent = name;
  }

  #append(entry) {
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
    log.append(entry);
    while (log.children.length > MAX_ENTRIES) log.firstElementChild.remove();
    if (atEnd) log.scrollTop = log.scrollHeight;
  }
}
