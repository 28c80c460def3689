// Peers on Socket.IO's own client, with its defaults but for the transport. `node socketio_members.mjs URL...`; the URLs
// are those of the peers, two in a room. It reads lines [sender, time] and writes lines ["joined", peer] and
// ["arrived", sender, time].
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const say = (...line) => console.log(JSON.stringify(line));
const sockets = process.argv.slice(2).map((url, peer) => {
  const socket = io(url, { transports: ["websocket"], forceNew: true });
  const room = `room-${peer >> 1}`;
  socket.on("connect", () => socket.recovered || socket.emit("join", { room, peer_id: String(peer) }));
  socket.on("joined", () => say("joined", peer));
  socket.on("ice-candidate", ({ payload }) => say("arrived", payload.from, payload.at));
  return socket;
});
for await (const line of createInterface({ input: process.stdin })) {
  const [from, at] = JSON.parse(line);
  sockets[from].emit("ice-candidate", { room: `room-${from >> 1}`, payload: { target_peer_id: String(from ^ 1), from, at } });
}
process.exit();
