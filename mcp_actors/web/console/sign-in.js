/** Asks for the access token of an operator. */

import {byId} from "./element.js";
import {isToken} from "./token.js";

/** Event "token": there is another token, or none any more. */
export class SignIn extends EventTarget {
  #token;
  #isWanted = false;
  #dialog = byId("sign-in");
  #input = byId("token");
  #reason = byId("sign-in-reason");

  /** @param {import("./token.js").TokenStore} token */
  constructor(token) {
    super();
    this.#token = token;
    byId("insecure").hidden = isSecureContext;
    byId("sign-in-form").addEventListener("submit", (/** @type {SubmitEvent} */ event) => this.#submit(event));
    byId("sign-in-cancel").addEventListener("click", () => this.#dialog.close());
    byId("sign-in-button").addEventListener("click", () => this.ask(""));
    byId("sign-out-button").addEventListener("click", () => this.#use(""));
    this.#dialog.addEventListener("close", () => (this.#input.value = ""));
    this.#show();
  }

  /** Forgets a token that is not accepted, and asks for another one. @param {import("./api.js").Refused} refused */
  denied({token, message, wantsToken}) {
    if (token !== this.#token.value) return; // there is another one meanwhile
    this.#token.value = "";
    this.#isWanted = wantsToken;
    this.#show();
    if (wantsToken) this.ask(token && message);
  }

  /** @param {string} reason why the last token was not accepted; empty if there was none */
  ask(reason) {
    this.#reason.textContent = reason;
    this.#reason.hidden = !reason;
    this.#input.setAttribute("aria-invalid", String(Boolean(reason)));
    if (!this.#dialog.open) this.#dialog.showModal();
    this.#input.focus();
  }

  /** @param {SubmitEvent} event */
  #submit(event) {
    event.preventDefault();
    const token = this.#input.value.trim();
    if (!isToken(token)) return this.ask("A token consists of letters, digits and the characters . - _ only: copy it as a whole.");
    this.#dialog.close();
    this.#use(token);
  }

  /** @param {string} token */
  #use(token) {
    this.#token.value = token;
    this.#show();
    this.dispatchEvent(new Event("token"));
  }

  #show() {
    byId("sign-out-button").hidden = !this.#token.value;
    byId("sign-in-button").hidden = Boolean(this.#token.value) || !this.#isWanted;
  }
}
