/** The panel at the side: people or chat, or neither. On small windows it covers the call, and is closed at first. */

import {$} from "./element.js";

const NAMES = ["people", "chat"];
const small = matchMedia("(max-width: 899px), (max-height: 499px)");

export class Panels {
  #open = null;
  #unread = 0;

  constructor() {
    for (const name of NAMES) $(`show-${name}`).addEventListener("click", () => this.toggle(name));
    for (const button of document.querySelectorAll(".close-panel")) button.addEventListener("click", () => this.close());
    addEventListener("keydown", ({key}) => key === "Escape" && small.matches && this.close());
    small.addEventListener("change", () => this.#showByDefault());
    this.#showByDefault();
  }

  #showByDefault() {
    this.#show(small.matches ? null : "chat");
  }

  toggle(name) {
    if (this.#open === name) return this.close();
    this.#show(name);
    if (name === "chat") $("chat-input").focus();
    else $("roster").focus();
  }

  /** Closes the panel; the focus goes back to the button that opened it. */
  close() {
    const name = this.#open;
    const inside = $("side").contains(document.activeElement);
    this.#show(null);
    if (name && inside) $(`show-${name}`).focus();
  }

  /** Counts a message that came while the chat was closed. */
  noteMessage() {
    if (this.#open !== "chat") this.#count(this.#unread + 1);
  }

  #show(open) {
    this.#open = open;
    if (open === "chat") this.#count(0);
    $("side").hidden = open === null;
    for (const name of NAMES) {
      $(`${name}-panel`).hidden = name !== open;
      $(`show-${name}`).setAttribute("aria-expanded", String(name === open));
    }
  }

  #count(unread) {
    this.#unread = unread;
    $("unread").hidden = unread === 0;
    $("unread").textContent = unread > 99 ? "99+" : String(unread);
    $("show-chat").setAttribute("aria-label", unread ? `Chat, ${unread} unread` : "Chat");
  }
}
