/** The access token of the operator: kept for this tab and this session only. */

const KEY = "mcp_actors.console.token";

/** Where the browser forbids session storage, the token is forgotten when the page is loaded again. */
export class TokenStore {
  #token = "";

  constructor() {
    try {
      this.#token = sessionStorage.getItem(KEY) ?? "";
    } catch {
      // forbidden
    }
  }

  /** The token; empty if there is none. */
  get value() {
    return this.#token;
  }

  /** @param {string} token */
  set value(token) {
    this.#token = token;
    try {
      if (token) sessionStorage.setItem(KEY, token);
      else sessionStorage.removeItem(KEY);
    } catch {
      // forbidden
    }
  }
}

/** Whether a text can be a token: anything else could not be sent in a header. @param {string} text */
export const isToken = (text) => /^[\w.~+/=-]+$/.test(text);
