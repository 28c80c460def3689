// The real PeerJS server, the package `peer`, with its limit on connections raised. `node peerjs.mjs PORT [PATH [OPTIONS]]`, with
// further options as JSON. If PORT is 0, it prints the port that it has taken.
import { PeerServer } from "peer";

const [port, path = "/", options = "{}"] = process.argv.slice(2);
const settings = { host: "127.0.0.1", port: Number(port), path, concurrent_limit: 100_000, ...JSON.parse(options) };
PeerServer(settings, (server) => port === "0" && console.log(server.address().port));
