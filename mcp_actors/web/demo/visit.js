/** What this tab knows of its visitor: the room in the address, the name, the token; and what a reload continues. */

import {cleanName, randomId, randomName} from "./names.js";

const DEFAULT_ROOM = "lobby";

/** A room's name as the server accepts it, whatever keyboard or link it comes from. */
export const asRoom = (text) => text.normalize().replace(/\s+/g, " ").trim();

/** Reads or writes session storage, which differs between tabs. Browsers may forbid it: then the result is null. */
function stored(key, value) {
  try {
    if (value !== undefined) sessionStorage.setItem(key, value);
    return sessionStorage.getItem(key);
  } catch {
    return null;
  }
}

/** The claims of an access token, or {}. Only the server can verify them. */
function claimsOf(token) {
  try {
    const bytes = atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"));
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(bytes, (byte) => byte.charCodeAt(0)))) ?? {};
  } catch {
    return {};
  }
}

/** Moves the access token from the address to the session storage, so that copying the address does not share it. */
function takeToken() {
  const url = new URL(location.href);
  const token = url.searchParams.get("token");
  if (token === null) return stored("token") || undefined;
  url.searchParams.delete("token");
  history.replaceState(null, "", url);
  stored("token", token);
  return token || undefined;
}

const isReload = () => performance.getEntriesByType("navigation")[0]?.type === "reload";

export class Visit {
  constructor() {
    const parameters = new URLSearchParams(location.search);
    this.token = takeToken();
    const {sub, can} = claimsOf(this.token);
    const subject = typeof sub === "string" ? sub : undefined;
    /** The peer id; an application may say in the address who is logged in. */
    this.id = subject ?? parameters.get("id") ?? randomId();
    this.name = stored("name") || cleanName(subject, randomName());
    /** Whether the server lets this visitor moderate, as far as the token says. */
    this.moderates = Array.isArray(can) && can.includes("moderate");
  }

  /** The room in the address. */
  get room() {
    return asRoom(new URLSearchParams(location.search).get("room") ?? "") || DEFAULT_ROOM;
  }

  /** Puts a room into the address, with an entry in the history if it is another one. */
  set room(room) {
    if (room !== this.room) history.pushState(null, "", `?${new URLSearchParams({room})}`);
  }

  /** The address of the room for others, without anything about this visitor. */
  get link() {
    const link = new URL(location.pathname, location.href);
    if (this.room !== DEFAULT_ROOM) link.searchParams.set("room", this.room);
    return link.href;
  }

  rename(name) {
    this.name = cleanName(name, this.name);
    stored("name", this.name);
  }

  /** Keeps a token for the next load of the page; false if the browser stores nothing. */
  keepToken(token) {
    return stored("token", token) !== null;
  }

  /** Remembers that this tab is in a room, with or without camera and microphone, or, with null, that it is in none. */
  remember(devices) {
    stored("call", devices ? JSON.stringify({room: this.room, ...devices}) : "");
  }

  /** What a reload continues: {camera, microphone}; null for a first visit, which is asked before anything happens. */
  get interrupted() {
    try {
      const call = JSON.parse(stored("call") || "null");
      return isReload() && call?.room === this.room ? call : null;
    } catch {
      return null;
    }
  }
}
