/**
 * Drives the JavaScript client by JSON lines: commands on stdin, their results and events on stdout.
 *
 *   {"id": 1, "command": "connect", "client": "ada", "url": "http://127.0.0.1:8000", "tokens": ["..."]}
 *   {"id": 2, "command": "join", "client": "ada", "room": "r", "peerId": "ada"}
 *   {"id": 3, "command": "offer", "client": "ada", "room": "r", "to": "bob", "value": {"type": "offer", "sdp": "..."}}
 *
 * The answers are {"id", "result"} or {"id", "error": {code, message, retryable, details}}; events are {"event", "client", "room",
 * "detail"}, with null for `room` if they are those of a connection. tests/client/behaviours/driver.py lists the commands.
 */

import {createInterface} from "node:readline";

import {Connection, UserConnection} from "../../../mcp_actors/web/client/index.js";

const CONNECTION_EVENTS = ["open", "reconnecting", "close", "error"];
const ROOM_EVENTS = [
  ...["peer-joined", "peer-updated", "peer-left", "peer-away", "peer-back", "offer", "answer", "ice-candidate", "signal"],
  ...["user-joined", "user-updated", "user-left", "message"],
  ...["lock-changed", "announcement", "ice-servers", "rejoined", "ended"],
];

const clients = new Map();
const rooms = new Map(); // by client and name; also those that have ended

const tell = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);

const shown = ({code, name, message, retryable = false, details}) => ({code: code ?? name, message, retryable, details});

const hear = (target, types, client, room) => {
  for (const event of types) {
    const told = (detail) => (detail instanceof Error ? shown(detail) : detail);
    target.addEventListener(event, ({detail}) => tell({event, client, room, detail: told(detail)}));
  }
};

/** A function that returns one token after the other; a single one is a string. */
const tokenOf = ([...tokens]) => (tokens.length > 1 ? () => (tokens.length > 1 ? tokens.shift() : tokens[0]) : tokens[0]);

const connect = (Kind) => ({client, url, tokens = [], ...options}) => {
  const made = new Kind(url, {...options, token: tokenOf(tokens)});
  clients.set(client, made);
  hear(made, CONNECTION_EVENTS, client, null);
  return made.connect();
};

const at = ({client, room}) => rooms.get(JSON.stringify([client, room]));

const view = (request) => {
  const room = at(request);
  const peers = [...room.peers.values()];
  return {
    ...{locked: room.locked, joined: room.joined, metadata: room.metadata},
    ...{peerId: room.peerId, order: room.order, iceServers: room.iceServers, users: room.users && [...room.users.keys()]},
    peers: Object.fromEntries(peers.map(({peerId, metadata}) => [peerId, metadata])),
    away: peers.filter(({presence}) => presence === "away").map(({peerId}) => peerId),
  };
};

const join = async ({client, room: name, timeout, ...options}) => {
  const signal = timeout === undefined ? undefined : AbortSignal.timeout(timeout);
  const room = await clients.get(client).join(name, {...options, signal});
  rooms.set(JSON.stringify([client, name]), room);
  hear(room, ROOM_EVENTS, client, name);
  return view({client, room: name});
};

const relay = (method) => (request) => at(request)[method](request.to, request.value ?? null, request.negotiation);

const commands = {
  connect: connect(Connection),
  "connect-user": connect(UserConnection),
  state: ({client}) => clients.get(client).state,
  close: ({client}) => clients.get(client).close(),
  reconnect: ({client}) => clients.get(client).reconnect(),
  join,
  room: view,
  offer: relay("offer"),
  answer: relay("answer"),
  candidate: relay("candidate"),
  signal: relay("signal"),
  send: (request) => at(request).send(request.value),
  update: (request) => at(request).update(request.value),
  leave: (request) => at(request).leave(),
  lock: (request) => at(request).lock(),
  unlock: (request) => at(request).unlock(),
  bans: (request) => at(request).bans(),
  unban: (request) => at(request).unban(request.peerId),
  report: (request) => at(request).report(request.value),
  kick: ({client, room, peerId, ...options}) => at({client, room}).kick(peerId, options),
  "renew-ice-servers": (request) => at(request).renewIceServers(),
  "close-room": ({client, room, ...options}) => at({client, room}).close(options),
};

for await (const line of createInterface({input: process.stdin})) {
  const request = JSON.parse(line);
  const {id, command, ...given} = request;
  Promise.resolve()
    .then(() => commands[command](given))
    .then((result) => tell({id, result: result ?? null}))
    .catch((error) => tell({id, error: shown(error)}));
}
for (const client of clients.values()) client.close();
