/** The people of the room on the page: a tile with the picture, and a line in the roster, for each. */

import {cleanName, hueOf, initialsOf} from "./names.js";

const PEER_STATES = {
  new: "Waiting",
  connecting: "Connecting",
  connected: "Connected",
  disconnected: "Interrupted",
  failed: "Trying again",
  closed: "Ended",
};

/** A new element like the one in a <template>. */
export function fromTemplate(id) {
  return document.getElementById(id).content.firstElementChild.cloneNode(true);
}

function stateOf(peer) {
  return peer.away ? "Signaling lost" : PEER_STATES[peer.state];
}

/** Event "named" {id, name}: a name was shown, for the first time or as another one. */
export class People extends EventTarget {
  #tiles = new Map();
  #lines = new Map();
  #names = new Map();
  #selfId;
  #selfIsHere = false;

  /** @param {string} selfId our own peer id */
  constructor(selfId) {
    super();
    this.#selfId = selfId;
    addEventListener("click", () => this.#playWithSound());
    addEventListener("keydown", () => this.#playWithSound());
  }

  /** How many are in the room. */
  get size() {
    return this.#tiles.size - (this.#tiles.has(this.#selfId) && !this.#selfIsHere ? 1 : 0);
  }

  /** The name of somebody who is, or was, here; undefined for others. */
  nameOf(id) {
    return this.#names.get(id);
  }

  /** Shows us and what we send or, while we are not in the room, would send. */
  showSelf(name, media, here) {
    const tile = this.#tileOf(this.#selfId);
    const video = tile.querySelector("video");
    this.#dress(this.#selfId, name, "you");
    this.#lines.get(this.#selfId).hidden = !here;
    this.#selfIsHere = here;
    this.#showCount();
    tile.classList.add("self");
    tile.classList.toggle("mirrored", media.source === "camera");
    tile.querySelector(".state").textContent = !media.audio ? "" : media.muted ? "Muted" : "Microphone on";
    if (video.srcObject === media.preview) return;
    video.muted = true;
    video.srcObject = media.preview;
    this.#play(tile);
  }

  /** Shows a Peer of the call as it is now. */
  show(peer) {
    const tile = this.#tileOf(peer.id);
    const video = tile.querySelector("video");
    const state = stateOf(peer);
    this.#dress(peer.id, cleanName(peer.metadata.name, peer.id), state);
    for (const element of [tile, this.#lines.get(peer.id)]) {
      element.dataset.state = peer.away ? "away" : peer.state;
      element.querySelector(".state").textContent = state;
    }
    tile.querySelector(".cover-state").textContent = state;
    if (video.srcObject !== peer.stream) video.srcObject = peer.stream;
    if (peer.state === "connected") this.#play(tile);
  }

  /** Takes somebody off the page; the name stays known, for the chat. */
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
    document.getElementById("tiles").dataset.count = Math.min(this.#tiles.size, 10);
    document.getElementById("people-count").textContent = this.size;
  }

  #dress(id, name, remark) {
    const tile = this.#tiles.get(id);
    for (const element of [tile, this.#lines.get(id)]) {
      element.dataset.peerId = id;
      element.style.setProperty("--hue", hueOf(id));
      element.querySelector(".name").textContent = id === this.#selfId ? `${name} (you)` : name;
      element.querySelector(".avatar").textContent = initialsOf(name);
    }
    tile.setAttribute("aria-label", `${name}, ${remark}`);
    if (this.#names.get(id) === name) return;
    this.#names.set(id, name);
    this.dispatchEvent(new CustomEvent("named", {detail: {id, name}}));
  }

  /** Browsers may refuse to start sound before the first click: then the picture starts alone and a button asks for the click. */
  async #play(tile) {
    const video = tile.querySelector("video");
    try {
      await video.play();
    } catch (error) {
      if (error.name !== "NotAllowedError") return; // the stream changed meanwhile
      tile.querySelector(".play").hidden = false;
      if (video.muted) return;
      video.muted = true;
      this.#play(tile);
    }
  }

  #playWithSound() {
    for (const [id, tile] of this.#tiles) {
      const hint = tile.querySelector(".play");
      if (hint.hidden) continue;
      hint.hidden = true;
      tile.querySelector("video").muted = id === this.#selfId;
      this.#play(tile);
    }
  }
}
