/** What the clients read from session descriptions, and the line in which they announce their heartbeat. */

import {HEARTBEAT_ID} from "./pair-heartbeat.js";

/** @typedef {{type: RTCSdpType, sdp: string}} Description */

/** The session id in the origin line: it changes with the RTCPeerConnection. @param {{sdp?: string} | null} description */
export const sessionOf = (description) => /^o=\S+ (\d+)/m.exec(description?.sdp ?? "")?.[1];

/** The complete origin line, with its version: it changes with the description. @param {{sdp?: string} | null} description */
export const originOf = (description) => /^o=.*$/m.exec(description?.sdp ?? "")?.[0];

/** The first user name of ICE: it changes with each restart. @param {{sdp?: string} | null} description */
export const ufragOf = (description) => /^a=ice-ufrag:(.*)$/m.exec(description?.sdp ?? "")?.[1];

/** @param {{sdp?: string} | null} description */
export const hasDataChannels = (description) => /^m=application [1-9]/m.test(description?.sdp ?? "");

/** Whether the other side hears and sends the heartbeat. @param {{sdp?: string} | null} description */
export const announcesHeartbeat = (description) => ANNOUNCEMENT.test(description?.sdp ?? "");

/** Whether the other side has said that it cannot restart ICE. @param {{sdp?: string} | null} description */
export const cannotRestart = (description) => ANNOUNCEMENT.exec(description?.sdp ?? "")?.[1] === " no-restart";

/**
 * The description with the line that announces the heartbeat.
 * @param {RTCSessionDescription} description
 * @returns {Description}
 */
export const withHeartbeat = ({type, sdp}) => ({type, sdp: sdp.replace(/^t=.*$/m, `$&\r\na=mcp-actors-heartbeat:${HEARTBEAT_ID}`)});

/** The types of the candidates in a description, such as "host" and "relay". @param {{sdp?: string} | null} description */
export const candidateTypes = (description) =>
  new Set([...(description?.sdp ?? "").matchAll(/^a=candidate:.* typ (\S+)/gm)].map(([, type]) => type));

const ANNOUNCEMENT = new RegExp(`^a=mcp-actors-heartbeat:${HEARTBEAT_ID}( no-restart)?$`, "m");
