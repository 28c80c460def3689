/** The tile of one person, or of the screen that a person shares. */

import {fromTemplate, setText} from "./element.js";
import {hueOf, initialsOf} from "./names.js";
import {described, labelOf, stateOf} from "./person.js";

const NARROWEST = 1.2; // width by height: of narrower pictures, as of phones held upright, a tile would cut off too much

export class Tile {
  #video;
  #muted; // whether it must be silent: the own tile

  /** @param {boolean} [silent] whether it never makes a sound, as the own tile and shared screens */
  constructor(silent = false) {
    this.element = fromTemplate("tile-template");
    this.#muted = silent;
    this.#video = this.element.querySelector("video");
    this.#video.muted = silent;
    this.#video.addEventListener("playing", () => this.element.classList.add("playing"));
    this.#video.addEventListener("emptied", () => this.element.classList.remove("playing"));
    this.#video.addEventListener("resize", () => this.#fit());
  }

  /** @param {import("./person.js").Person} person */
  show(person) {
    const {id, name, state, self = false, mirrored = false, flowing, audible} = person;
    const {element} = this;
    element.dataset.peerId = id;
    element.dataset.state = state;
    element.dataset.flowing = String(flowing);
    element.classList.toggle("self", self);
    element.classList.toggle("mirrored", mirrored);
    element.style.setProperty("--hue", hueOf(id));
    element.setAttribute("aria-label", described(person));
    this.#write(".avatar", initialsOf(name));
    this.#write(".name", labelOf(person));
    this.#write(".state", stateOf(person));
    this.#write(".cover-state", stateOf(person));
    element.querySelector(".muted").toggleAttribute("hidden", audible);
    this.#use(person.stream, flowing);
  }

  /** @param {import("./person.js").Person} person whose screen it is */
  showScreen({id, name, self, screen}) {
    const {element} = this;
    const label = self ? "Your screen" : `Screen of ${name}`;
    element.dataset.screenOf = id;
    element.classList.add("screen");
    element.style.setProperty("--hue", hueOf(id));
    element.setAttribute("aria-label", label);
    this.#write(".name", label);
    this.#use(screen, true);
  }

  /** Plays again, with sound, now that the person has touched the page. */
  unblock() {
    const button = this.element.querySelector(".play");
    if (button.hidden) return;
    button.hidden = true;
    this.#video.muted = this.#muted;
    this.#play();
  }

  remove() {
    this.#video.srcObject = null;
    this.element.remove();
  }

  #write(selector, text) {
    setText(this.element.querySelector(selector), text);
  }

  #use(stream, plays) {
    if (this.#video.srcObject !== stream) this.#video.srcObject = stream;
    if (plays) this.#play();
  }

  #fit() {
    const {videoWidth, videoHeight} = this.#video;
    this.element.dataset.fit = videoWidth < videoHeight * NARROWEST ? "contain" : "cover";
  }

  /** Browsers may block sound before the first click: then the video plays muted, and a button asks for the click. */
  async #play() {
    try {
      await this.#video.play();
    } catch (error) {
      if (error.name !== "NotAllowedError") return; // the stream has changed
      this.element.querySelector(".play").hidden = false;
      if (this.#video.muted) return;
      this.#video.muted = true;
      this.#play();
    }
  }
}
