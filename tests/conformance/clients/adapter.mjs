/** The adapter of the JavaScript client for `python -m mcp_actors.conformance client`. */

import {createInterface} from "node:readline";

import {Connection} from "../../../mcp_actors/web/client/index.js";

const tell = (event, fields) => process.stdout.write(`${JSON.stringify({event, ...fields})}\n`);
const rooms = new Map();
let connection;

const commands = {
  connect: ({url, tokens}) => {
    connection = new Connection(url, {token: tokens.length > 1 ? () => (tokens.length > 1 ? tokens.shift() : tokens[0]) : tokens[0]});
    connection.addEventListener("close", ({detail}) => tell("closed", {code: detail?.code}));
    return connection.connect();
  },
  join: async ({room: name, peer_id: peerId}) => {
    const room = await connection.join(name, {peerId});
    rooms.set(name, room);
    room.addEventListener("signal", ({detail}) => tell("message", {room: name, sender: detail.sender, data: detail.data}));
    tell("joined", {room: name});
  },
  send: ({room, to, data}) => rooms.get(room).signal(to, data),
  close: () => connection.close(),
};

for await (const line of createInterface({input: process.stdin})) {
  const request = JSON.parse(line);
  Promise.resolve(commands[request.command](request)).catch(({code, message}) => tell("error", {code, message}));
}
process.exit();
