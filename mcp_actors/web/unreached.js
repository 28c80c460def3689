/** Who of a call cannot be reached: known to the server, but no connection to them comes about. */

const PATIENCE = 10_000; // milliseconds

/** Event "changed": `peers` are others now. */
export class Unreached extends EventTarget {
  #timers = new Map();

  /** @param {import("./call.js").Call} call */
  constructor(call) {
    super();
    /** Those unconnected for ten seconds or longer. @type {Set<import("./call.js").Peer>} */
    this.peers = new Set();
    for (const type of ["peer-added", "peer-changed"]) {
      call.addEventListener(type, ({detail: peer}) => (peer.state === "connected" ? this.#forget(peer) : this.#watch(peer)));
    }
    call.addEventListener("peer-removed", ({detail: peer}) => this.#forget(peer));
  }

  #watch(peer) {
    if (!this.#timers.has(peer)) this.#timers.set(peer, setTimeout(() => this.#giveUpOn(peer), PATIENCE));
  }

  #giveUpOn(peer) {
    this.peers.add(peer);
    this.dispatchEvent(new Event("changed"));
  }

  #forget(peer) {
    clearTimeout(this.#timers.get(peer));
    this.#timers.delete(peer);
    if (this.peers.delete(peer)) this.dispatchEvent(new Event("changed"));
  }
}
