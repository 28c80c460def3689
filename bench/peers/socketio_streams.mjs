// A relay on Socket.IO with its Redis Streams adapter and connection state recovery. `REDIS_URL=... node socketio_streams.mjs PORT`.
// Each peer is in a room of its own, named after it, through which other processes reach it, also after a recovery.
import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-streams-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

const redis = createClient({ url: process.env.REDIS_URL });
redis.on("error", () => {}); // without a listener, a lost connection to Redis would end the process
await redis.connect();
const http = createServer();
const io = new Server(http, { adapter: createAdapter(redis), connectionStateRecovery: {} });

io.on("connection", (socket) => {
  socket.on("join", ({ room, peer_id }) => {
    socket.data.peer = peer_id;
    socket.join(`${room}/${peer_id}`);
    socket.emit("joined", { room, peer_id });
  });
  for (const kind of ["offer", "answer", "ice-candidate"]) {
    socket.on(kind, (data) => {
      io.to(`${data.room}/${data.payload.target_peer_id}`).emit(kind, { ...data, sender: socket.data.peer });
    });
  }
});
http.listen(Number(process.argv[2]), "127.0.0.1");
