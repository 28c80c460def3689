// The TypeScript client v2 in a room: node v2.mjs URL TOKEN ROOM MODE. It prints what it was told as JSON.

import {Client, StreamableHTTPClientTransport} from "@modelcontextprotocol/client";
import {talk} from "./talk.mjs";

const [url, token, room, mode] = process.argv.slice(2);
const headers = {Authorization: `Bearer ${token}`};
const transport = new StreamableHTTPClientTransport(new URL(url), {requestInit: {headers}});
const client = new Client({name: "v2", version: "1.0.0"}, {versionNegotiation: {mode}});
await client.connect(transport);
await talk(client, room, client.getNegotiatedProtocolVersion?.() ?? transport.protocolVersion);
