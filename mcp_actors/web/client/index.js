/**
 * Client of the signaling server, without dependencies, for browsers and Node.
 *
 *   const connection = new Connection("https://example.org");
 *   const room = await connection.join("team-1", {metadata: {name: "Ada"}});
 *   room.addEventListener("offer", ({detail: {sender, offer}}) => ...);
 *
 * `Connection` is for peers, which negotiate WebRTC connections, and `UserConnection` for users, who send messages to rooms.
 */

export {Connection} from "./connection.js";
export {SignalingError} from "./errors.js";
export {Room} from "./room.js";
export {UserConnection} from "./user-connection.js";
export {UserRoom} from "./user-room.js";

/** @typedef {import("./base-room.js").CommonEvents} CommonEvents */
/** @typedef {import("./base-room.js").Ended} Ended */
/** @typedef {import("./base-room.js").Target} Target */
/** @typedef {import("./client.js").ConnectionEvents} ConnectionEvents */
/** @typedef {import("./client.js").ConnectionOptions} ConnectionOptions */
/** @typedef {import("./messages.js").Ban} Ban */
/** @typedef {import("./messages.js").Delivery} Delivery */
/** @typedef {import("./messages.js").Peer} Peer */
/** @typedef {import("./messages.js").User} User */
/** @typedef {import("./persistent-link.js").State} State */
/** @typedef {import("./room.js").Report} Report */
/** @typedef {import("./room.js").RoomEvents} RoomEvents */
/** @typedef {import("./tokens.js").Token} Token */
/** @typedef {import("./user-room.js").UserRoomEvents} UserRoomEvents */
