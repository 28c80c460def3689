/** The admin API and the metrics of the server that served this page. */

const TIMEOUT = 15_000; // milliseconds

/** @typedef {"peer" | "user"} Kind */
/** @typedef {{name: string, peers: number, users: number, nodes: number, locked: boolean}} RoomSummary */
/** @typedef {{rooms: RoomSummary[], next: string | null}} RoomPage `next` continues the list; null at its end */
/**
 * @typedef {{kind: Kind, id: string, order: number, node: string, metadata: Record<string, unknown>, detached: boolean,
 *   verified: boolean}} Member one connection
 */
/** @typedef {{kind: Kind, id: string, expires_in: number, by: string, reason: string, message: string}} Ban `by`: empty for an operator */
/** @typedef {{locked: boolean, members: Member[], bans: Ban[]}} Room */
/** @typedef {{node: string, answers: boolean, alive: boolean, lease_seconds: number | null}} Node `lease_seconds`: until it ends */
/** @typedef {{version: string, uptime_seconds: number, problem: string | null}} Server `problem`: why it takes no joins */

/** The server refused a request; the message is a sentence that says why. */
export class Refused extends Error {
  /** @param {string} message @param {{status: number, wantsToken: boolean, token: string}} about `token`: that of the request */
  constructor(message, {status, wantsToken, token}) {
    super(message);
    this.status = status;
    this.wantsToken = wantsToken;
    this.token = token;
  }

  /** Whether the server does not take the request for one of an operator. */
  get isDenied() {
    return this.status === 401 || this.status === 403;
  }
}

/** The server did not answer. */
export class Unreachable extends Error {}

export class Api {
  #base;
  #token;

  /** @param {URL} base of the site, with a slash at its end @param {{value: string}} token */
  constructor(base, token) {
    this.#base = base;
    this.#token = token;
  }

  /** The text of /metrics; null if this server has none. */
  async metrics() {
    try {
      return await (await this.#fetch("GET", "metrics")).text();
    } catch (error) {
      if (error instanceof Refused && error.status === 404) return null;
      throw error;
    }
  }

  /** @returns {Promise<Server>} */
  server = () => this.#json("GET", "server");

  /** @returns {Promise<Node[]>} */
  nodes = async () => (await this.#json("GET", "nodes")).nodes;

  /** @param {{prefix: string, cursor: string | null, limit: number}} which @returns {Promise<RoomPage>} */
  async rooms({prefix, cursor, limit}) {
    const query = new URLSearchParams({limit: String(limit), ...(prefix && {prefix}), ...(cursor && {cursor})});
    const {rooms, next} = await this.#json("GET", `rooms?${query}`);
    return {rooms: rooms.map(summaryOf), next};
  }

  /** @param {string} name @returns {Promise<Room>} */
  room = (name) => this.#json("GET", pathOf(name));

  /** @param {string} room @param {Kind} kind @param {string} id @param {{message?: string, ban_seconds?: number}} how @returns {Promise<{removed: boolean}>} */
  kick = (room, kind, id, how) => this.#json("POST", `${pathOf(room)}/members/${kind}/${encodeURIComponent(id)}/kick`, how);

  /** @param {string} room @param {Kind} kind @param {string} id */
  unban = (room, kind, id) => this.#json("DELETE", `${pathOf(room)}/bans/${kind}/${encodeURIComponent(id)}`);

  /** @param {string} room @param {boolean} locked @returns {Promise<{locked: boolean}>} */
  lock = (room, locked) => this.#json("POST", `${pathOf(room)}/${locked ? "lock" : "unlock"}`, {});

  /** @param {string} room @param {{message?: string}} how @returns {Promise<{closed: boolean}>} */
  close = (room, how) => this.#json("POST", `${pathOf(room)}/close`, how);

  /** @param {string} room @param {unknown} content @param {{kind: Kind, id: string} | null} to everybody if null @returns {Promise<{sent: boolean}>} */
  send = (room, content, to) => this.#json("POST", `${pathOf(room)}/messages`, {content, ...(to && {to})});

  /** @param {string} method @param {string} path @param {object} [body] @returns {Promise<any>} */
  async #json(method, path, body) {
    return (await this.#fetch(method, `api/v1/${path}`, body)).json();
  }

  /** @param {string} method @param {string} path @param {object} [body] */
  async #fetch(method, path, body) {
    const token = this.#token.value;
    const response = await this.#send(method, new URL(path, this.#base), token, body);
    if (response.ok) return response;
    const {status, headers} = response;
    throw new Refused(await sentenceOf(response), {status, token, wantsToken: headers.has("WWW-Authenticate")});
  }

  /** @param {string} method @param {URL} url @param {string} token @param {object} [body] */
  async #send(method, url, token, body) {
    const headers = {
      ...(token && {Authorization: `Bearer ${token}`}),
      ...(body && {"Content-Type": "application/json"}),
    };
    try {
      return await fetch(url, {
        method,
        headers,
        body: body && JSON.stringify(body),
        cache: "no-store",
        credentials: "omit",
        redirect: "error",
        signal: AbortSignal.timeout(TIMEOUT),
      });
    } catch {
      throw new Unreachable("The server cannot be reached.");
    }
  }
}

/** @param {any} entry @returns {RoomSummary} */
const summaryOf = ({room, nodes, ...rest}) => ({...rest, name: room, nodes: Object.keys(nodes).length});

/** @param {string} room */
const pathOf = (room) => `rooms/${encodeURIComponent(room)}`;

/** What the server says about a refusal: JSON with an error, or text. @param {Response} response */
async function sentenceOf(response) {
  const text = (await response.text().catch(() => "")).trim();
  try {
    return JSON.parse(text).error.message;
  } catch {
    return text || `The server answered with ${response.status}.`;
  }
}
