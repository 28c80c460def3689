/** Why a pair is not connected. See "Pairs" in PROTOCOL.md. */

import {candidateTypes} from "./sdp.js";

/**
 * @typedef {"no-candidates" | "no-turn" | "turn-refused" | "checks-failed" | "dtls-failed" | "peer-gone" | "refused-by-server"} Reason
 */

/**
 * @typedef {object} Findings
 * @property {boolean} refused whether the server has refused a description
 * @property {boolean} gone whether the other peer is away or has left, or has not answered or offered
 * @property {boolean} turnRefused whether a TURN server has refused a request
 * @property {boolean} wasConnected
 */

/** @param {RTCPeerConnection} pc @returns {RTCDtlsTransport[]} */
function transportsOf(pc) {
  const all = [pc.sctp?.transport, ...pc.getTransceivers().map(({sender}) => sender.transport)];
  return all.filter((transport) => transport !== null && transport !== undefined);
}

/** Whether DTLS has ended, so that only another connection helps. @param {RTCPeerConnection} pc */
export const dtlsHasEnded = (pc) => transportsOf(pc).some(({state}) => state === "failed" || state === "closed");

/** @param {RTCPeerConnection} pc */
const dtlsIsConnected = (pc) => pc.connectionState === "connected" || transportsOf(pc).every(({state}) => state === "connected");

/** @param {RTCPeerConnection} pc */
const iceIsConnected = ({iceConnectionState: state}) => state === "connected" || state === "completed";

/** @param {RTCPeerConnection} pc @param {Findings} findings @returns {Reason} */
export function diagnose(pc, {refused, gone, turnRefused, wasConnected}) {
  if (refused) return "refused-by-server";
  if (gone) return "peer-gone";
  const local = candidateTypes(pc.localDescription);
  const lacksRelay = turnRefused && !local.has("relay");
  if (lacksRelay && wasConnected) return "turn-refused"; // ICE may look connected for some seconds more
  if (iceIsConnected(pc) || dtlsHasEnded(pc)) return dtlsIsConnected(pc) ? "checks-failed" : "dtls-failed";
  const isRelayed = local.has("relay") || candidateTypes(pc.remoteDescription).has("relay");
  if (lacksRelay) return "turn-refused";
  if (local.size === 0) return "no-candidates";
  return isRelayed || wasConnected ? "checks-failed" : "no-turn";
}

/** Whether an error of a candidate says that a TURN server has refused a request. @param {RTCPeerConnectionIceErrorEvent} error */
export const isTurnRefusal = ({errorCode, url}) => /^turns?:/.test(url ?? "") && errorCode >= 300 && errorCode < 700;
