// A relay on Node's `ws`. `node ws_relay.mjs PORT`. The heartbeat is the one its README shows.
import { WebSocketServer } from "ws";

const rooms = new Map();
const server = new WebSocketServer({ host: "127.0.0.1", port: Number(process.argv[2]), backlog: 1024 });

server.on("connection", (socket) => {
  let member = "";
  const joined = new Set();
  socket.isAlive = true;

  const enter = (room, reply) => {
    if (!rooms.has(room)) rooms.set(room, new Map());
    rooms.get(room).set(member, socket);
    joined.add(room);
    socket.send(JSON.stringify({ type: reply, room, payload: { id: member } }));
  };

  const passOn = (members, message) => {
    const text = JSON.stringify(message);
    if (message.type !== "message") {
      members.get(message.payload.target_peer_id).send(text);
      return;
    }
    const encoded = Buffer.from(text); // once for all
    for (const other of members.values()) if (other !== socket) other.send(encoded, { binary: false });
  };

  socket.on("error", console.error);
  socket.on("pong", () => (socket.isAlive = true));
  socket.on("message", (data) => {
    const message = JSON.parse(data);
    switch (message.type) {
      case "join":
        member = message.payload.peer_id;
        return enter(message.room, "joined");
      case "connect":
        member = message.payload.user_id;
        return;
      case "join-room":
        return enter(message.room, "room-joined");
      default:
        message.sender = member;
        passOn(rooms.get(message.room), message);
    }
  });
  socket.on("close", () => {
    for (const room of joined) {
      const members = rooms.get(room);
      members.delete(member);
      if (!members.size) rooms.delete(room);
    }
  });
});

setInterval(() => {
  for (const socket of server.clients) {
    if (!socket.isAlive) {
      socket.terminate();
      continue;
    }
    socket.isAlive = false;
    socket.ping();
  }
}, 20_000);
