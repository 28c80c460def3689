// The real PeerJS server, the package `peer`, with its limit on connections raised. `node peerjs.mjs PORT [PATH]`.
import { PeerServer } from "peer";

PeerServer({ host: "127.0.0.1", port: Number(process.argv[2]), path: process.argv[3] ?? "/", concurrent_limit: 100_000 });
