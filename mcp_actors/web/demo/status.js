/** What the page says about the connection to the server, and about people with whom there is no call. */

import {$, setText} from "./element.js";
import {describeNoCall} from "./wording.js";

const WORDS = {connecting: "Connecting", open: "Connected", reconnecting: "Reconnecting", closed: "Not connected"};

export class Status {
  #meeting;
  #timer = 0;

  /** @param {import("./meeting.js").Meeting} meeting */
  constructor(meeting) {
    this.#meeting = meeting;
    for (const type of ["changed", "person", "person-left", "ended"]) meeting.addEventListener(type, () => this.#show());
    for (const id of ["retry", "joining-now"]) $(id).addEventListener("click", () => meeting.tryNow());
  }

  #show() {
    clearInterval(this.#timer);
    this.#showConnection();
    this.#showProblem();
    if (this.#meeting.retryAt) this.#timer = setInterval(() => this.#showConnection(), 1000);
  }

  #showConnection() {
    const {state, connection, people, waiting} = this.#meeting;
    $("status").dataset.state = connection;
    setText($("status-text"), WORDS[connection]);
    const text = connection === "open" ? waiting : `The connection to the server is lost${people.length ? ", the call goes on" : ""}.`;
    const lost = state === "in" && text !== "" && connection !== "connecting";
    $("banner").hidden = !lost;
    $("retry").hidden = connection === "open";
    if (lost) setText($("banner-text"), `${text} ${this.#countdown()}`.trim());
    setText($("joining-text"), state === "joining" ? this.#joining() : "Joining");
    $("joining-now").hidden = !this.#pause();
  }

  #joining() {
    if (this.#meeting.waiting) return `${this.#meeting.waiting} Trying again.`;
    return this.#pause() ? `The server cannot be reached. ${this.#countdown()}` : "Joining";
  }

  /** Whole seconds until the next attempt. */
  #pause() {
    return Math.max(0, Math.ceil((this.#meeting.retryAt - Date.now()) / 1000));
  }

  #countdown() {
    if (this.#meeting.connection === "open") return "";
    const seconds = this.#pause();
    return seconds ? `Trying again in ${seconds} s.` : "Trying again now.";
  }

  #showProblem() {
    const text = this.#meeting.state === "in" ? this.#problem() : "";
    setText($("problem"), text);
    $("problem").hidden = !text;
  }

  #problem() {
    const {people, connection} = this.#meeting;
    const refused = people.filter(({state}) => state === "refused");
    if (refused.length) return describeNoCall(namesOf(refused), "refused-by-server", refused[0].problem);
    const failed = people.filter(({state}) => state === "failed");
    if (!failed.length || connection !== "open") return "";
    return describeNoCall(namesOf(failed), failed[0].reason);
  }
}

const namesOf = (people) => people.map(({name}) => name);
