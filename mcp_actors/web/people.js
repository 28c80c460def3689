/** The people in the room as the page shows them: a tile with the video and a line in the roster for each. */

import {cleanName, hueOf, initialsOf} from "./names.js";

const PEER_STATES = {
  new: "Waiting",
  connecting: "Connecting",
  connected: "Connected",
  disconnected: "Interrupted",
  failed: "Trying again",
  closed: "Ended",
};

/** Clones the content of a <template>. */
export function fromTemplate(id) {
  return document.getElementById(id).content.firstElementChild.cloneNode(true);
}

/** Event "named" {id, name}: a name is shown for the first time, or has changed. */
export class People extends EventTarget {
  #tiles = new Map();
  #lines = new Map();
  #names = new Map();
  #selfId;
  #inRoom = false;

  /** @param {string} selfId the local peer id */
  constructor(selfId) {
    super();
    this.#selfId = selfId;
    for (const type of ["click", "keydown"]) addEventListener(type, () => this.#playWithSound());
  }

  /** The number of people in the room. */
  get size() {
    return this.#tiles.size - (this.#tiles.has(this.#selfId) && !this.#inRoom ? 1 : 0);
  }

  /** The name of anybody who is or was in the room, otherwise undefined. */
  nameOf(id) {
    return this.#names.get(id);
  }

  /** Shows the local person, also while not in the room. */
  showSelf(name, media, inRoom) {
    const tile = this.#tileOf(this.#selfId);
    const video = tile.querySelector("video");
    this.#label(this.#selfId, name, "you");
    this.#lines.get(this.#selfId).hidden = !inRoom;
    this.#inRoom = inRoom;
    this.#showCount();
    tile.classList.add("self");
    tile.classList.toggle("mirrored", media.source === "camera");
    tile.querySelector(".state").textContent = !media.audio ? "" : media.muted ? "Muted" : "Microphone on";
    if (video.srcObject === media.preview) return;
    video.muted = true;
    video.srcObject = media.preview;
    this.#play(tile);
  }

  /** Shows a Peer of the call in its current state. */
  show(peer) {
    const tile = this.#tileOf(peer.id);
    const video = tile.querySelector("video");
    const state = peer.away ? "Signaling lost" : peer.problem ? "No call" : PEER_STATES[peer.state];
    this.#label(peer.id, cleanName(peer.metadata.name, peer.id), state);
    for (const element of [tile, this.#lines.get(peer.id)]) {
      element.dataset.state = peer.away ? "away" : peer.state;
      element.querySelector(".state").textContent = state;
    }
    tile.querySelector(".cover-state").textContent = state;
    if (video.srcObject !== peer.stream) video.srcObject = peer.stream;
    if (peer.state === "connected") this.#play(tile);
  }

  /** Removes a person from the page; the chat still needs the name. */
  remove(id) {
    const tile = this.#tiles.get(id);
    if (!tile) return;
    tile.querySelector("video").srcObject = null;
    tile.remove();
    this.#lines.get(id).remove();
    this.#tiles.delete(id);
    this.#lines.delete(id);
    this.#showCount();
  }

  #tileOf(id) {
    return this.#tiles.get(id) ?? this.#add(id);
  }

  #add(id) {
    const [tile, line] = [fromTemplate("tile-template"), fromTemplate("member-template")];
    const video = tile.querySelector("video");
    video.addEventListener("playing", () => tile.classList.add("playing"));
    video.addEventListener("emptied", () => tile.classList.remove("playing"));
    this.#tiles.set(id, tile);
    this.#lines.set(id, line);
    document.getElementById("tiles").append(tile);
    document.getElementById("roster").append(line);
    this.#showCount();
    return tile;
  }

  #showCount() {
    document.getElementById("people-count").textContent = this.size;
  }

  #label(id, name, state) {
    const tile = this.#tiles.get(id);
    for (const element of [tile, this.#lines.get(id)]) {
      element.dataset.peerId = id;
      element.style.setProperty("--hue", hueOf(id));
      element.querySelector(".name").textContent = id === this.#selfId ? `${name} (you)` : name;
      element.querySelector(".avatar").textContent = initialsOf(name);
    }
    tile.setAttribute("aria-label", `${name}, ${state}`);
    if (this.#names.get(id) === name) return;
    this.#names.set(id, name);
    this.dispatchEvent(new CustomEvent("named", {detail: {id, name}}));
  }

  /** Browsers may block sound before the first click: then the video plays muted, and a button asks for the click. */
  async #play(tile) {
    const video = tile.querySelector("video");
    try {
      await video.play();
    } catch (error) {
      if (error.name !== "NotAllowedError") return; // the stream has changed
      tile.querySelector(".play").hidden = false;
      if (video.muted) return;
      video.muted = true;
      this.#play(tile);
    }
  }

  #playWithSound() {
    for (const [id, tile] of this.#tiles) {
      const button = tile.querySelector(".play");
      if (button.hidden) continue;
      button.hidden = true;
      tile.querySelector("video").muted = id === this.#selfId;
      this.#play(tile);
    }
  }
}
