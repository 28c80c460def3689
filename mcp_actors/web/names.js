/** Names, and the colours and initials that stand for them. */

const LONGEST_NAME = 40;
const ADJECTIVES = ["Amber", "Brave", "Calm", "Clever", "Eager", "Gentle", "Jolly", "Kind", "Lucky", "Merry", "Quiet", "Swift"];
const ANIMALS = ["Badger", "Crane", "Dolphin", "Falcon", "Fox", "Hare", "Heron", "Lynx", "Otter", "Owl", "Panda", "Robin"];

const pick = (words) => words[crypto.getRandomValues(new Uint32Array(1))[0] % words.length];

/** An id nobody else has. */
export function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  return "peer-" + Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Whom an access token is for, if it is one; whether that is true is for the server to check. */
export function subjectOf(token) {
  try {
    const bytes = atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"));
    const {sub} = JSON.parse(new TextDecoder().decode(Uint8Array.from(bytes, (byte) => byte.charCodeAt(0))));
    return typeof sub === "string" ? sub : undefined;
  } catch {
    return undefined;
  }
}

/** A friendly name for somebody who gave none. */
export function randomName() {
  return `${pick(ADJECTIVES)} ${pick(ANIMALS)}`;
}

/** What strangers say of themselves may be any JSON: a name of bearable length, or the fallback. */
export function cleanName(value, fallback) {
  return typeof value === "string" && value.trim() ? value.trim().slice(0, LONGEST_NAME) : fallback;
}

/** A colour of its own for every id, as a hue in degrees. */
export function hueOf(id) {
  let hash = 0x811c9dc5; // FNV-1a, its high bits mixed in
  for (const character of id) hash = Math.imul(hash ^ character.codePointAt(0), 0x01000193);
  return ((hash ^ (hash >>> 15)) >>> 0) % 360;
}

/** Up to two letters that stand for a name. */
export function initialsOf(name) {
  const words = name.trim().split(/\s+/);
  const letters = words.length > 1 ? [words[0], words.at(-1)] : [words[0]];
  return letters.map((word) => ([...word][0] ?? "?").toUpperCase()).join("");
}
