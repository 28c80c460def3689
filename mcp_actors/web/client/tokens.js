/** The access token of a client, or a function that returns one. */

import {SignalingError, messageOf} from "./errors.js";

/** @typedef {string | (() => string | Promise<string>)} Token */

/** @param {string} reason */
const noToken = (reason) =>
  new SignalingError("no-token", `The function that returns access tokens has failed: ${reason}.`, {retryable: true});

export class TokenSource {
  #token;
  #pending = 0;

  /** @param {Token} [token] */
  constructor(token) {
    this.#token = token;
  }

  /** Whether another token may come. */
  get renewable() {
    return typeof this.#token === "function";
  }

  /** The error of a function that has not answered yet. */
  get delay() {
    return this.#pending ? noToken("no answer") : undefined;
  }

  /** @returns {Promise<string | undefined>} rejected with a SignalingError */
  async get() {
    if (typeof this.#token !== "function") return this.#token;
    this.#pending++;
    try {
      return await this.#token();
    } catch (error) {
      throw noToken(messageOf(error));
    } finally {
      this.#pending--;
    }
  }

  /** The subprotocols that carry a token. */
  async protocols() {
    const token = await this.get();
    return token === undefined ? [] : ["mcp-actors", `mcp-actors.token.${token}`];
  }
}
