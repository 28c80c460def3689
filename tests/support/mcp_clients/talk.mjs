// What both TypeScript clients do: enter a room, say hello, wait for an answer, and leave.

export async function talk(client, room, version) {
  const call = async (name, args) => {
    const result = await client.callTool({name, arguments: args});
    if (result.isError) throw new Error(JSON.stringify(result.content));
    return result.structuredContent;
  };
  const tools = (await client.listTools()).tools.map((tool) => tool.name);
  const {membership, last_seq, roster} = await call("join_room", {room});
  await call("send_message", {membership, content: "hello"});
  const {messages} = await call("receive_messages", {membership, after: last_seq, wait_seconds: 25});
  await call("leave_room", {membership});
  console.log(JSON.stringify({version, tools, roster, messages}));
  await client.close();
}
