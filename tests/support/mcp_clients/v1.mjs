// The TypeScript client v1 in a room: node v1.mjs URL TOKEN ROOM. It prints what it was told as JSON.

import {Client} from "@modelcontextprotocol/sdk/client/index.js";
import {StreamableHTTPClientTransport} from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import {WebSocketClientTransport} from "@modelcontextprotocol/sdk/client/websocket.js";
import {talk} from "./talk.mjs";

const [url, token, room] = process.argv.slice(2);
const headers = {Authorization: `Bearer ${token}`};
const transport = url.startsWith("ws")
  ? new WebSocketClientTransport(new URL(`${url}?token=${token}`)) // it can send no headers
  : new StreamableHTTPClientTransport(new URL(url), {requestInit: {headers}});
const client = new Client({name: "v1", version: "1.0.0"});
await client.connect(transport);
await talk(client, room, transport.protocolVersion);
