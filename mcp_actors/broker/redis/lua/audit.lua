-- Compare rooms of a node with what is stored of them. The outcome is an entry of the inbox of the node: when the node reads it,
-- it has read all changes that the outcome includes, and none that it does not.
--
-- rooms: msgpack list of {room, own}, in the order of the keys; own: the incarnations of the members of the node, by field.
-- Replies: {OK} | {FENCED}

takes_rooms({'nodes', 'inbox', 'rooms'}, {'node', 'max_entries', 'rooms'})

if is_fenced(args.node) then return {'FENCED'} end

local function is_indexed(room)
  for node in pairs(nodes) do
    if not redis.call('ZSCORE', keys.nodes, node) then return false end
  end
  return redis.pcall('SISMEMBER', keys.rooms, room) == 1
end

local outcome = {}
for i, asked in ipairs(cmsgpack.unpack(args.rooms)) do
  keys.members, keys.state = rooms[i].members, rooms[i].state
  read_state()
  local lost, size = {}, redis.pcall('HLEN', keys.members)
  for field, incarnation in pairs(asked.own) do
    local packed = redis.pcall('HGET', keys.members, field)
    if type(packed) ~= 'string' or not string.find(packed, incarnation, 1, true) then lost[#lost + 1] = incarnation end
  end
  outcome[i] = {
    room = asked.room, version = counted('#version'), members = type(size) == 'number' and size or 0, lost = lost,
    last_peer = counted('#joins:peer'), last_user = counted('#joins:user'), sound = is_sound() and is_indexed(asked.room)
  }
end
inboxes[args.node] = keys.inbox
append_entry(args.node, 'type', 'audit', 'rooms', cmsgpack.pack(outcome))
return {'OK'}
