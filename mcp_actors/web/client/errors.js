/** The error of the client. */

/** @import {Payload} from "./messages.js" */

/** Codes of requests that the server has not answered. */
export const LOST_CODES = new Set(["connection-lost", "unknown", "timeout"]);

/**
 * An error of the server, with a `code` of PROTOCOL.md, or one of the client:
 * - "connection-lost": the request was not sent.
 * - "unknown": the connection was lost before the reply, and the session could not be resumed. The request may have been
 *   carried out, or not.
 * - "timeout": the connection works, but there is no reply. The request may have been carried out, or not.
 * - "message-too-big": the message can never be sent; `details.limit` is the limit in bytes.
 * - "unreachable": there is no connection; the message says where to look.
 * - "handshake-refused": there is none, as a server answers but refuses the WebSocket. `details.status` is the status of
 *   a plain request to the same address, or 0 if this page may not see it.
 * - "no-token": the function that returns access tokens has failed, or has not answered.
 * - "rate-limited": the server closes each connection, as there are too many; try again later.
 * - "closed": the connection was closed for good, by this side or by the server; `details` are {code, reason}.
 * - "left": the room was left, or ended, before the request was answered.
 */
export class SignalingError extends Error {
  /**
   * @param {string} code for programs
   * @param {string} message for people
   * @param {object} [options]
   * @param {boolean} [options.retryable] whether the same request may succeed a moment later
   * @param {Record<string, unknown>} [options.details]
   */
  constructor(code, message, {retryable = false, details} = {}) {
    super(message);
    this.name = "SignalingError";
    this.code = code;
    this.retryable = retryable;
    this.details = details;
  }
}

/**
 * The error in an `error` message of the server.
 * @param {Payload} payload
 */
export const errorOf = ({code, message, retryable, details}) => new SignalingError(code, message, {retryable, details});

export const connectionLost = () =>
  new SignalingError("connection-lost", "The connection to the server is lost.", {retryable: true});

/**
 * The error of a request whose reply cannot come any more.
 * @param {{sent: boolean, type: string}} request
 */
export const lossOf = ({sent, type}) => (sent ? new SignalingError("unknown", noReply(type)) : connectionLost());

/** @param {string} type */
export const noReply = (type) => `There is no reply to ${type}, which may have arrived.`;

/**
 * The error of a connection that is closed.
 * @param {number} code of the close frame
 * @param {string} reason
 * @param {boolean} [retryable]
 */
export const closed = (code, reason, retryable = false) =>
  new SignalingError("closed", `The connection is closed: ${reason || "no reason"} (${code}).`, {
    retryable,
    details: {code, reason},
  });

/** @param {unknown} error */
export const messageOf = (error) => (error instanceof Error ? error.message : String(error));
