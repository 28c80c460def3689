/** A person in the room, as the page shows it. */

import {cleanName} from "./names.js";

/**
 * @typedef {object} Person
 * @property {string} id
 * @property {string} name written by a stranger
 * @property {boolean} [self] whether it is the person at this page
 * @property {"connecting" | "connected" | "healing" | "failed" | "away" | "refused"} state
 * @property {boolean} flowing whether media can flow: also with somebody who is away
 * @property {boolean} audible whether its microphone is on, as it says
 * @property {string | null} [reason] why there is no call, for `describeNoCall`
 * @property {{code: string, message?: string} | null} [problem] what the server refuses, if that is why
 * @property {MediaStream} stream
 * @property {MediaStream | null} screen
 */

const STATES = {
  connecting: "Connecting",
  connected: "",
  healing: "Reconnecting",
  failed: "No connection yet",
  away: "Away",
  refused: "No call",
};

/**
 * @param {import("../client/call.js").Pair} pair
 * @param {string} [lastName] in case it is not in the room any more
 * @returns {Person}
 */
export function personOf(pair, lastName) {
  const {peerId, member, state, away, problem, reason, stream, screen} = pair;
  return {
    id: peerId,
    name: cleanName(member?.metadata.name, lastName ?? peerId),
    state: away ? "away" : problem && state !== "connected" ? "refused" : state,
    flowing: state === "connected",
    audible: member?.metadata.audible === true,
    reason,
    problem,
    stream,
    screen,
  };
}

/** A word or two for the state; empty if all is well. @param {Person} person */
export const stateOf = ({self, state}) => (self ? "" : (STATES[state] ?? ""));

/** The state where there is room for more. @param {Person} person */
export function detailOf(person) {
  if (person.state === "away") return "Away: has lost the connection, and may come back";
  return stateOf(person) || (person.audible ? "Microphone on" : "Microphone off");
}

/** @param {Person} person */
export const labelOf = ({self, name}) => (self ? `${name} (you)` : name);

/** A sentence for screen readers. @param {Person} person */
export function described(person) {
  const state = stateOf(person);
  return [labelOf(person), ...(state ? [state.toLowerCase()] : []), ...(person.audible ? [] : ["microphone off"])].join(", ");
}
