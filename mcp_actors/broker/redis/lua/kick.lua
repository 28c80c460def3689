-- Put a peer, or all connections of a user, out of a room, for good: in one version, which every node that has members there
-- is told, those of the ones who go included.
--
-- KEYS, ARGV 1-5: as in common.lua, the node being that of the moderator; behind the inboxes, in the same order, the rooms of
--                 their nodes; last but one the configuration, last who was put out
-- ARGV: 6 field of the moderator  7 incarnation  8 field of the peer, or "" for a user  9 how the text of the user begins, or ""
--       10 ms in which those who were put out cannot be claimed
-- Replies: {OK, version} | {NOOP, version or ""}: the moderator is not at that node in the room, or nobody is of that id | {FENCED} | {LATER, ms}: as in join.lua |
--          {KEYS, node...}

if fenced(ARGV[1]) then return {'FENCED'} end
local later = still_announced(KEYS[#KEYS - 1])
if later then return later end
local state, nodes = load_nodes()
if not is_here(ARGV[6], ARGV[7]) then return {'NOOP', state['#v'] or ''} end
local missing = undeclared(nodes)
if missing then return missing end

local gone = {}
if ARGV[8] ~= '' then
  local present = redis.call('HGET', KEYS[2], ARGV[8])
  if present then gone[ARGV[8]] = cmsgpack.unpack(present) end
else
  local flat = redis.call('HGETALL', KEYS[2])
  for i = 1, #flat, 2 do
    local member = cmsgpack.unpack(flat[i + 1])
    if string.sub(member[4], 1, #ARGV[9]) == ARGV[9] then gone[flat[i]] = member end
  end
end
if not next(gone) then return {'NOOP', state['#v'] or ''} end

local changes = {}
for field, member in pairs(gone) do
  redis.call('HDEL', KEYS[2], field)
  redis.call('HINCRBY', KEYS[3], '#c' .. kind_of(field), -1)
  changes[#changes + 1] = {'-', member[2], 'kicked', field}
end
local version = bump(state)
tell(nodes, state, version, changes)
for _, member in pairs(gone) do leave_node(member[1]) end
put_out(gone, 'kicked', ARGV[10])
end_if_empty()
return {'OK', text(version)}
