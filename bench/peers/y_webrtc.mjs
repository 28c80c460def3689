// The real signaling server of y-webrtc, on loopback: it has a setting for its port only. `node y_webrtc.mjs PORT`.
import { Server } from "node:net";

const listen = Server.prototype.listen;
Server.prototype.listen = function (port) { return listen.call(this, port, "127.0.0.1"); };
process.env.PORT = process.argv[2];
await import(new URL("node_modules/y-webrtc/bin/server.js", import.meta.url));
