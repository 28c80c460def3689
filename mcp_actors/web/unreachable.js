/** Peers that are in the room but to which no connection comes about. */

const TIMEOUT = 10_000; // milliseconds

/** Event "changed": `peers` has changed. */
export class Unreachable extends EventTarget {
  #timers = new Map();

  /** @param {import("./call.js").Call} call */
  constructor(call) {
    super();
    /** Peers that have not been connected for ten seconds or longer. @type {Set<import("./call.js").Peer>} */
    this.peers = new Set();
    for (const type of ["peer-added", "peer-changed"]) {
      call.addEventListener(type, ({detail: peer}) => (peer.state === "connected" ? this.#remove(peer) : this.#watch(peer)));
    }
    call.addEventListener("peer-removed", ({detail: peer}) => this.#remove(peer));
  }

  #watch(peer) {
    if (!this.#timers.has(peer)) this.#timers.set(peer, setTimeout(() => this.#add(peer), TIMEOUT));
  }

  #add(peer) {
    this.peers.add(peer);
    this.dispatchEvent(new Event("changed"));
  }

  #remove(peer) {
    clearTimeout(this.#timers.get(peer));
    this.#timers.delete(peer);
    if (this.peers.delete(peer)) this.dispatchEvent(new Event("changed"));
  }
}
