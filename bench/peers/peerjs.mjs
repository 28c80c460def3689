// The real PeerJS server, the package `peer`, with its limit on connections raised. `node peerjs.mjs PORT`.
import { PeerServer } from "peer";

PeerServer({ host: "127.0.0.1", port: Number(process.argv[2]), path: "/", concurrent_limit: 100_000 });
