/** The list of the people in the room. */

import {$, fromTemplate, setText} from "./element.js";
import {hueOf, initialsOf} from "./names.js";
import {detailOf, labelOf} from "./person.js";

/** Event "remove" {id, name}: a moderator wants a person out of the room. */
export class Roster extends EventTarget {
  #lines = new Map(); // by id
  #moderates;

  /** @param {boolean} moderates whether to offer the removal of others */
  constructor(moderates) {
    super();
    this.#moderates = moderates;
  }

  /** @param {import("./person.js").Person} person */
  show(person) {
    const {id, name, self = false, state} = person;
    const line = this.#lines.get(id) ?? this.#add(id);
    line.dataset.peerId = id;
    line.dataset.state = state;
    line.style.setProperty("--hue", hueOf(id));
    setText(line.querySelector(".avatar"), initialsOf(name));
    setText(line.querySelector(".name"), labelOf(person));
    setText(line.querySelector(".state"), detailOf(person));
    const button = line.querySelector(".remove");
    button.hidden = self || !this.#moderates;
    button.setAttribute("aria-label", `Remove ${name}`);
    button.onclick = () => this.dispatchEvent(new CustomEvent("remove", {detail: {id, name}}));
    this.#count();
  }

  remove(id) {
    this.#lines.get(id)?.remove();
    this.#lines.delete(id);
    this.#count();
  }

  #add(id) {
    const line = fromTemplate("member-template");
    this.#lines.set(id, line);
    $("roster").append(line);
    return line;
  }

  #count() {
    setText($("people-count"), String(this.#lines.size));
  }
}
