/** A generated picture with a name and a clock, which is sent in place of a camera. */

import {hueOf, initialsOf} from "./names.js";

const WIDTH = 640;
const HEIGHT = 360;
const FRAMES_PER_SECOND = 5;
const CALM_FRAMES_PER_SECOND = 1; // for people who want less motion

const calm = matchMedia("(prefers-reduced-motion: reduce)");

/** Needs no device and no permission. */
export class GeneratedPicture {
  #hue;
  #canvas = Object.assign(document.createElement("canvas"), {width: WIDTH, height: HEIGHT});
  #context = this.#canvas.getContext("2d", {alpha: false});
  #ticker = new Worker(new URL("./ticker.js", import.meta.url));

  /** @param {string} id determines the colour */
  constructor(id, name) {
    this.#hue = hueOf(id);
    this.name = name;
    this.#ticker.onmessage = () => this.#draw();
    this.#draw();
    /** @type {MediaStreamTrack} */
    this.track = this.#canvas.captureStream(FRAMES_PER_SECOND).getVideoTracks()[0];
    this.track.contentHint = "detail";
  }

  start() {
    this.#ticker.postMessage(1000 / (calm.matches ? CALM_FRAMES_PER_SECOND : FRAMES_PER_SECOND));
  }

  stop() {
    this.#ticker.postMessage(0);
  }

  #draw() {
    const context = this.#context;
    const hue = this.#hue + (calm.matches ? 0 : 20 * Math.sin(performance.now() / 1000));
    const background = context.createLinearGradient(0, 0, WIDTH, HEIGHT);
    background.addColorStop(0, `oklch(0.48 0.1 ${hue})`);
    background.addColorStop(1, `oklch(0.25 0.07 ${hue + 60})`);
    context.fillStyle = background;
    context.fillRect(0, 0, WIDTH, HEIGHT);
    this.#write(initialsOf(this.name), 130, 110);
    this.#write(new Date().toLocaleTimeString(), 215, 26);
  }

  #write(text, y, size) {
    const context = this.#context;
    context.font = `600 ${size}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillStyle = "white";
    context.fillText(text, WIDTH / 2, y, HEIGHT * 1.2); // the page may crop the sides
  }
}
