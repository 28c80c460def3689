/** The buttons for camera, microphone and screen: those of the call, and those beside the preview before it. */

import {$, setIcon, setText, toast} from "./element.js";
import {describeDevice} from "./wording.js";

const ICONS = {camera: "camera", microphone: "mic"};

export class Controls {
  #media;
  #asking = new Set();

  /** @param {import("./media.js").LocalMedia} media */
  constructor(media) {
    this.#media = media;
    for (const device of ["camera", "microphone"]) {
      for (const id of [device, `preview-${device}`]) $(id).addEventListener("click", () => this.#toggle(device));
    }
    $("screen").addEventListener("click", () => this.#toggle("screen"));
    $("screen").hidden = !media.canShare;
    media.addEventListener("changed", () => this.#show());
    this.#show();
  }

  /** Turns a device on; without it, says why. `quietly`: it is as well if there is none. */
  async start(device, quietly = false) {
    this.#asking.add(device);
    this.#show();
    try {
      await this.#media.start(device);
      setText($("device-note"), "");
    } catch (error) {
      if (!quietly && !(device === "screen" && error.name === "NotAllowedError")) this.#complain(describeDevice(error, device));
    } finally {
      this.#asking.delete(device);
      this.#show();
    }
  }

  #complain(text) {
    if ($("call").hidden) setText($("device-note"), text);
    else toast(text);
  }

  #isOn(device) {
    const {source, audible, shared} = this.#media;
    return {camera: source === "camera", microphone: audible, screen: shared !== null}[device];
  }

  #toggle(device) {
    if (!this.#isOn(device)) return this.start(device);
    return device === "microphone" ? this.#media.mute(true) : this.#media.stop(device);
  }

  #show() {
    for (const [device, icon] of Object.entries(ICONS)) {
      for (const id of [device, `preview-${device}`]) {
        this.#press($(id), device);
        setIcon($(id), this.#isOn(device) ? icon : `${icon}-off`);
      }
    }
    this.#press($("screen"), "screen");
    $("camera").dataset.source = this.#media.source;
  }

  #press(button, device) {
    button.setAttribute("aria-pressed", String(this.#isOn(device)));
    button.disabled = this.#asking.has(device);
  }
}
