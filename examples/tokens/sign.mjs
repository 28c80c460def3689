// An access token, signed in Node without a package. `node sign.mjs USER ROOM...`
import {createHmac} from "node:crypto";

const LIFETIME = 900; // seconds; a page asks for the next one before
const [user, ...rooms] = process.argv.slice(2);

const encode = (value) => Buffer.from(value).toString("base64url");

/** A name stands for itself: without this, the owner of a room named `*` could enter every room. */
const escaped = (name) => name.replace(/[*?\\]/g, "\\$&");

function sign(claims, secret) {
  const signed = [{alg: "HS256", typ: "JWT"}, claims].map((part) => encode(JSON.stringify(part))).join(".");
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}

const exp = Math.floor(Date.now() / 1000) + LIFETIME;
console.log(sign({sub: user, rooms: rooms.map(escaped), exp}, process.env.MCP_ACTORS_SECRET_KEY));
