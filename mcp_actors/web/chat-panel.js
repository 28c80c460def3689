/** The chat on the page. All it shows comes from strangers and is set as text. */

import {cleanName, hueOf} from "./names.js";
import {fromTemplate} from "./people.js";

const LONGEST_CHAT = 300;

/** Shows what a Chat hears, and says what is typed. */
export class ChatPanel {
  #chat;
  #people;
  #self;
  #enabled = false;
  #interrupted = false;
  #log = document.getElementById("chat-log");

  /**
   * @param {import("./chat.js").Chat} chat
   * @param {import("./people.js").People} people knows the names
   * @param {{id: string, name: string}} self
   */
  constructor(chat, people, self) {
    this.#chat = chat;
    this.#people = people;
    this.#self = self;
    chat.addEventListener("message", ({detail: {sender, content}}) => this.#show(sender, content));
    chat.addEventListener("user-joined", ({detail}) => this.notice("joined.", detail.user_id));
    chat.addEventListener("user-left", ({detail}) => this.notice("left.", detail.user_id));
    chat.addEventListener("reconnecting", () => this.#tellInterruption(true));
    chat.addEventListener("open", () => this.#tellInterruption(false));
    people.addEventListener("named", ({detail}) => this.#rename(detail.id, detail.name));

    const input = document.getElementById("chat-input");
    document.getElementById("chat-form").addEventListener("submit", (event) => {
      event.preventDefault();
      if (!chat.ready) return; // what is typed stays
      const text = input.value.trim();
      input.value = "";
      if (text) this.#say(text);
    });
  }

  /** Lets the person type, or not. */
  set enabled(enabled) {
    this.#enabled = enabled;
    if (!enabled) this.#interrupted = false;
    this.refresh();
  }

  /** Typing goes on while the chat is away, sending does not. */
  refresh() {
    document.getElementById("chat-input").disabled = !this.#enabled;
    document.getElementById("chat-send").disabled = !this.#enabled || !this.#chat.ready;
  }

  /** Shows a remark, about somebody or in general. */
  notice(text, userId = undefined) {
    const entry = fromTemplate("notice-template");
    if (userId !== undefined) this.#sign(entry, userId, userId);
    entry.querySelector(".text").textContent = text;
    this.#append(entry);
  }

  #tellInterruption(interrupted) {
    this.refresh();
    if (interrupted === this.#interrupted || this.#chat.room === null) return;
    this.#interrupted = interrupted;
    this.notice(interrupted ? "The chat has lost its connection and tries to come back." : "The chat is back.");
  }

  async #say(text) {
    const content = {name: this.#self.name, text};
    const entry = this.#show(this.#self.id, content);
    try {
      await this.#chat.say(content);
    } catch {
      entry.classList.add("failed");
      entry.querySelector(".fate").textContent = "not sent";
    }
  }

  /** Content is {name, text} from pages like this one, and any JSON from others. */
  #show(userId, content) {
    const entry = fromTemplate("message-template");
    const text = typeof content === "string" ? content : content?.text;
    entry.style.setProperty("--hue", hueOf(userId));
    entry.classList.toggle("own", userId === this.#self.id);
    this.#sign(entry, userId, cleanName(content?.name, userId));
    entry.querySelector("time").textContent = new Date().toLocaleTimeString([], {hour: "2-digit", minute: "2-digit"});
    entry.querySelector(".text").textContent = typeof text === "string" ? text : JSON.stringify(content);
    this.#append(entry);
    return entry;
  }

  #sign(entry, userId, fallback) {
    const author = entry.querySelector(".author");
    author.dataset.userId = userId;
    author.textContent = this.#people.nameOf(userId) ?? fallback;
  }

  #rename(userId, name) {
    for (const author of this.#log.querySelectorAll(".author")) {
      if (author.dataset.userId === userId) author.textContent = name;
    }
  }

  #append(entry) {
    const log = this.#log;
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
    log.append(entry);
    while (log.children.length > LONGEST_CHAT) log.firstElementChild.remove();
    if (atEnd) log.scrollTop = log.scrollHeight;
  }
}
