/** Sentences for the operator: what was done, and what is wrong. */

import {byId, setText} from "./element.js";

const SHOWN = 6000; // milliseconds

export class Notices {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** What was done; it disappears by itself. @param {string} sentence */
  tell(sentence) {
    clearTimeout(this.#timer);
    byId("toast").textContent = sentence;
    byId("toast").classList.add("shown");
    this.#timer = setTimeout(() => byId("toast").classList.remove("shown"), SHOWN);
  }

  /** What is wrong, until it is not any more. @param {string} sentence empty for nothing */
  set problem(sentence) {
    setText(byId("problem"), sentence);
    byId("problem").hidden = !sentence;
  }

  /** @param {"live" | "paused" | "away" | "denied" | "connecting"} state */
  set state(state) {
    byId("status").dataset.state = state;
    byId("main").hidden = state === "denied"; // what was read before is not for whoever comes next
    const texts = {live: "Live", paused: "Paused", away: "Not connected", denied: "No access", connecting: "Connecting"};
    setText(byId("status-text"), texts[state]);
  }
}
