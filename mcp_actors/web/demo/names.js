/** Ids and names of people, and the colour and initials that represent them. */

const MAX_NAME_LENGTH = 40;
const ADJECTIVES = ["Amber", "Brave", "Calm", "Clever", "Eager", "Gentle", "Jolly", "Kind", "Lucky", "Merry", "Quiet", "Swift"];
const ANIMALS = ["Badger", "Crane", "Dolphin", "Falcon", "Fox", "Hare", "Heron", "Lynx", "Otter", "Owl", "Panda", "Robin"];

const pick = (words) => words[Math.floor(Math.random() * words.length)];

export const randomName = () => `${pick(ADJECTIVES)} ${pick(ANIMALS)}`;

/** A random peer id. */
export function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  return "peer-" + Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A name of limited length, or the fallback: the value comes from a stranger and may be any JSON. */
export function cleanName(value, fallback) {
  return typeof value === "string" && value.trim() ? value.trim().slice(0, MAX_NAME_LENGTH) : fallback;
}

/** A hue in degrees that stays the same for an id. */
export function hueOf(id) {
  let hash = 0x811c9dc5; // FNV-1a, with its high bits mixed in
  for (const character of id) hash = Math.imul(hash ^ character.codePointAt(0), 0x01000193);
  return ((hash ^ (hash >>> 15)) >>> 0) % 360;
}

/** The initials of a name, at most two. */
export function initialsOf(name) {
  const words = name.trim().split(/\s+/);
  const letters = words.length > 1 ? [words[0], words.at(-1)] : [words[0]];
  return letters.map((word) => ([...word][0] ?? "?").toUpperCase()).join("");
}
