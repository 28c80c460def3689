/** The address of an endpoint, and why nothing answers there. */

import {SignalingError, closed} from "./errors.js";
import {LOST} from "./link.js";

const PROBE_TIMEOUT = 5_000; // milliseconds
const RATE_LIMITED = 4004;
const REFUSALS = [401, 403, 404]; // statuses that do not change by themselves

/**
 * The URL of an endpoint. `url` may be that of the server, with the prefix of its paths, or that of the endpoint itself, whose
 * path ends with /ws/ and a name; it begins with http:, https:, ws: or wss:, or is relative to the page.
 * @param {string | URL} url
 * @param {string} path
 */
export function endpointUrl(url, path) {
  const found = new URL(url, globalThis.location?.href);
  found.protocol = found.protocol.replace("http", "ws");
  found.hash = "";
  if (!/\/ws\/[^/]+\/?$/.test(found.pathname)) found.pathname = found.pathname.replace(/\/*$/, path);
  return found;
}

/**
 * The status with which a server answers HTTP; 0 if this page may not see it, undefined if none answers.
 * @param {URL} url
 */
async function statusOf(url) {
  try {
    const mode = globalThis.location ? "no-cors" : "cors"; // pages see it if the origin is theirs
    return (await fetch(url, {mode, cache: "no-store", signal: AbortSignal.timeout(PROBE_TIMEOUT)})).status;
  } catch {
    return undefined;
  }
}

/**
 * Why no WebSocket can be opened, as far as one can tell: browsers hide it.
 * @param {URL} url of the endpoint
 * @returns {Promise<SignalingError>} retryable, if another attempt may succeed
 */
export async function whyUnreachable(url) {
  const address = new URL(url.href.replace("ws", "http"));
  const status = await statusOf(address);
  const {origin, pathname} = address;
  if (status === undefined) {
    const text = `No server answers at ${origin}, or this page may not connect to it.`;
    return new SignalingError("unreachable", text, {retryable: true});
  }
  const causes = "the origin of this page, too many connections, or the path";
  const text = `The server refuses the WebSocket. Its log says why: ${causes} ${origin}${pathname}.`;
  return new SignalingError("handshake-refused", text, {retryable: !REFUSALS.includes(status), details: {status}});
}

/**
 * The error for connections that the server closes again and again.
 * @param {number} code of the close frame
 * @param {string} reason
 * @returns {SignalingError | undefined} undefined if it has sent no close frame
 */
export function whyClosed(code, reason) {
  if (code === LOST) return undefined;
  const error = closed(code, reason, true);
  if (code === RATE_LIMITED) error.code = "rate-limited";
  return error;
}
