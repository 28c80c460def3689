/** What the server sends, and how the client shows it. */

/**
 * A peer of a room. Of two peers the one with the higher `order` makes the offer. `metadata` comes from strangers.
 * `presence`: "away" while it has no connection, and may come back. `verified`: the server knows its id from a token.
 * @typedef {{peerId: string, order: number, metadata: Record<string, unknown>, presence: "here" | "away", verified: boolean}} Peer
 */

/**
 * A user of a room, with all its connections.
 * @typedef {{userId: string, metadata: Record<string, unknown>, verified: boolean}} User
 */

/**
 * A ban of a room. `expiresIn`: seconds. `by`: the id of the moderator, empty if the application banned. `address`: whether it
 * is for addresses, too.
 * @typedef {{peerId?: string, userId?: string, expiresIn: number, reason?: string, message?: string, by: string, address: boolean}} Ban
 */

/** @typedef {{status: "delivered" | "queued", negotiation?: number}} Delivery "queued": the peer is away, and gets it when it is back */

/** @typedef {{peer_id: string, metadata?: Record<string, unknown>, order: number, away?: boolean, verified?: boolean}} WirePeer */
/** @typedef {{user_id: string, metadata?: Record<string, unknown>, verified?: boolean}} WireUser */

/**
 * The fields of payloads; a message has those that PROTOCOL.md says.
 * @typedef {object} Payload
 * @property {string} code of an error
 * @property {string} message
 * @property {boolean} [retryable]
 * @property {Record<string, unknown>} [details]
 * @property {string} [resume] of the reply that begins or resumes a session
 * @property {boolean} [resumed]
 * @property {boolean} [complete]
 * @property {number} [ping_interval] seconds
 * @property {number} [max_message_bytes]
 * @property {string} peer_id
 * @property {string} user_id
 * @property {number} order
 * @property {Record<string, unknown>} [metadata]
 * @property {boolean} [verified]
 * @property {WirePeer[]} [peers]
 * @property {WireUser[]} [users]
 * @property {boolean} [locked]
 * @property {RTCIceServer[]} [ice_servers]
 * @property {number} [ice_servers_expire_in] seconds
 * @property {string} [reason]
 * @property {"delivered" | "queued"} status
 * @property {RTCSessionDescriptionInit} offer
 * @property {RTCSessionDescriptionInit} answer
 * @property {RTCIceCandidateInit | null} candidate
 * @property {unknown} data
 * @property {unknown} content
 * @property {number} after_ms
 * @property {WireBan[]} bans
 */

/** @typedef {{peer_id?: string, user_id?: string, expires_in: number, reason?: string, message?: string, by: string, address: boolean}} WireBan */

/**
 * @typedef {object} Message
 * @property {string} type
 * @property {string} [room]
 * @property {Payload} [payload]
 * @property {string | number | null} [id]
 * @property {string} [sender]
 * @property {boolean} [verified]
 * @property {number} [negotiation]
 * @property {number} [delivery]
 * @property {string} [at]
 * @property {boolean} [again]
 */

/**
 * The fields of an object with the names of JavaScript: peer_id becomes peerId. Names in `metadata` and the like stay.
 * @param {object} fields
 * @returns {object}
 */
export const camel = (fields) =>
  Object.fromEntries(Object.entries(fields).map(([name, value]) => [name.replace(/_./g, ([, letter]) => letter.toUpperCase()), value]));

/**
 * @param {object} peer
 * @returns {Peer}
 */
export const peerOf = (peer) => {
  const {away, ...fields} = /** @type {WirePeer} */ (peer);
  return /** @type {Peer} */ (/** @type {unknown} */ ({...userOf(fields), presence: away ? "away" : "here"}));
};

/**
 * @param {object} user
 * @returns {User}
 */
export const userOf = (user) => /** @type {User} */ ({metadata: {}, verified: false, ...camel(user)});
