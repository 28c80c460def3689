/** Sentences for people about what the server, the client and the browser report by codes. */

const AGAIN = "You can join again.";

/** Why a connection was closed, by the close codes of the server. */
export const CLOSES = {
  1000: "You left the room.",
  1001: "The server is stopping. Try again in a moment.",
  1002: "Something between this page and the server changes its messages, perhaps a proxy.",
  1006: "The connection to the server was lost.",
  1007: "The server received text that it could not read.",
  1009: "This page sent a message that is far too big for the server.",
  1011: "The server failed. It is not your fault; try again in a moment.",
  1012: "The server was restarted. Try again in a moment.",
  1013: "The server is full or is stopping. Try again in a moment.",
  4000: "Your connection is too slow: the server could not deliver what was sent to you.",
  4001: "The server lost this room. Join again.",
  4003: "This device did not answer for a while, so the server closed the connection.",
  4004: "Too much was sent from this page or from your network. Wait a moment, then join again.",
  4500: "The server did not understand this page. Reload it; perhaps the server was updated.",
  4501: "You joined from another tab or device, so this one was disconnected.",
  4502: "The server did not accept your access token.",
  4503: "Your access token has expired. Enter a new one to go on.",
  4504: "A moderator removed you from this room.",
  4505: "A moderator closed this room.",
  4506: "This server accepts no connections from this page. Its operator decides which pages may connect.",
  4507: "Your access token was revoked.",
  4510: "You were disconnected because nothing happened for a long time.",
};

/** Why a request failed, by the codes of errors: those of the server, then those of the client. */
export const ERRORS = {
  "bad-message": "The server did not understand this page. Reload it; perhaps the server was updated.",
  "message-too-big": "The message is too big for this server.",
  "not-connected": "The connection to the server was lost. Try again.",
  "not-in-room": "You are not in the room any more. Join again.",
  "already-in-room": "You are in this room already.",
  "peer-not-found": "This person has just left the room.",
  "stale-negotiation": "Both sides changed the call at the same time. It continues by itself.",
  "peer-id-taken": "Somebody with your id is in this room, perhaps you in another tab. Close it, or try again in a minute.",
  "room-full": "This room is full. Try again when somebody has left, or choose another room.",
  "room-locked": "This room is locked. Ask a moderator to unlock it, then join again.",
  banned: "A moderator has banned you from this room.",
  "too-many-rooms": "This page is in too many rooms at once.",
  unauthorized: "The server did not accept your access token.",
  forbidden: "Your access token does not allow this.",
  kicked: "A moderator removed you from this room.",
  "room-closed": "A moderator closed this room.",
  unavailable: "The server cannot do this at the moment.",
  "rate-limited": "That was too much at once. Wait a moment, then try again.",
  internal: "The server failed. It is not your fault; try again in a moment.",
  "unknown-type": "This server is too old for that.",
  "connection-lost": "The connection to the server was lost.",
  unknown: "The connection was lost before the server answered.",
  timeout: "The server does not answer.",
  closed: "The connection to the server was closed.",
  cancelled: "You cancelled.",
  left: "You are not in the room any more. Join again.",
  unreachable: "The server cannot be reached. Perhaps it is down, or you are offline.",
  "handshake-refused": "The server is there but refuses the connection. It may be full, or not allow this page.",
  "no-token": "This page has no access token.",
};

/** Why there is no call with somebody, by the reasons that `Call` finds. */
export const PAIRS = {
  "no-candidates": "this browser found no network for the call",
  "no-turn": "your networks do not reach each other, and the server offers no relay (TURN)",
  "turn-refused": "the relay (TURN) refuses this page",
  "checks-failed": "your networks do not reach each other",
  "dtls-failed": "the encryption could not be agreed on",
  "peer-gone": "the other side is not there any more",
  "refused-by-server": "the server refuses what the browsers send",
};

/** How somebody left, by the reasons of the server. */
const DEPARTURES = {
  timeout: "lost the connection and did not come back.",
  "node-lost": "lost the connection.",
  replaced: "joined from another place.",
  kicked: "was removed by a moderator.",
};

const DEVICES = {
  NotAllowedError: "The browser did not allow it. The button beside the address changes that.",
  NotFoundError: "There is none on this device.",
  NotReadableError: "Another program may be using it.",
  OverconstrainedError: "There is none that fits.",
  AbortError: "The device stopped.",
};

export const departure = (reason) => DEPARTURES[reason] ?? "left.";

/** What a moderator or operator gave as a text for people. */
const quoted = (message) => (message ? ` They say: “${message}”` : "");

/** Why the connection ended. `message`: the moderator's, if there is one. */
export function describeClose(code, message = "") {
  const text = CLOSES[code] ?? "The server closed the connection.";
  return text + quoted(message) + (code === 4504 || code === 4505 ? ` ${AGAIN}` : "");
}

const minutes = (milliseconds) => {
  const seconds = Math.ceil(milliseconds / 1000);
  if (seconds < 60) return `${seconds} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
};

/** Why a room has ended. @param {import("../client/base-room.js").Ended} ended @param {string} room */
export function describeEnd({code, ...details}, room) {
  return describeError({code, message: details.message ?? "", details}, room);
}

/** Why a request failed. `room`: the one it was about. */
export function describeError({code, message, details}, room = "") {
  if (code === "banned") {
    const until = details?.retry_after_ms ? ` You can join again in ${minutes(details.retry_after_ms)}.` : "";
    return ERRORS.banned + quoted(details?.message) + until;
  }
  if (code === "kicked" || code === "room-closed") return `${ERRORS[code]}${quoted(details?.message)} ${AGAIN}`;
  if (code === "room-full" && details?.limit) return `This room is full: ${details.limit} can be in it. Try again when somebody has left.`;
  if (code === "forbidden" && room) return `Your access token does not let you into the room “${room}”.`;
  if (code === "unauthorized") return unauthorized(message);
  if (code === "message-too-big" && details?.limit) return `The message is too big: this server allows ${details.limit} bytes.`;
  if (code === "closed" && details?.code) return describeClose(details.code);
  return ERRORS[code] ?? "Something went wrong.";
}

const unauthorized = (message) => (/expired/.test(message) ? CLOSES[4503] : ERRORS.unauthorized);

/** Why camera, microphone or screen are not there. `what`: one of these words. */
export function describeDevice(error, what) {
  if (error.name === "SecureContextError") return `Browsers give a page the ${what} only over https and on localhost.`;
  return `No ${what}: ${lowered(DEVICES[error.name] ?? "The browser reports an error.")}`;
}

const lowered = (text) => text[0].toLowerCase() + text.slice(1);

/** Names in a sentence. */
export function listed(names) {
  if (names.length < 2) return names.join("");
  const shown = names.length > 3 ? [...names.slice(0, 2), `${names.length - 2} others`] : names;
  return `${shown.slice(0, -1).join(", ")} and ${shown.at(-1)}`;
}

/**
 * Why there is no call with these people.
 * @param {{code: string, message?: string} | null} refused what the server refuses; `message` is absent if it is of the other page
 */
export function describeNoCall(names, reason, refused = null) {
  const people = listed(names);
  if (!refused) return `No call with ${people} yet: ${PAIRS[reason] ?? "the connection does not come about"}. This page keeps trying.`;
  const what = refused.message === undefined ? "what the other page sends" : "what this page sends";
  if (refused.code !== "message-too-big") return `No call with ${people}: the server refuses ${what}.`;
  return `No call with ${people}: ${what} is too big for this server, whose operator can allow more.`;
}
