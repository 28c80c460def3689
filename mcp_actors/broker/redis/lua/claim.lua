-- Move a member to another node, at which its session goes on, and tell every node that has members there; a node new to
-- the room is told all of it. Asked again for the same move, it changes nothing.
--
-- KEYS, ARGV 1-5: as in common.lua, the node being the new one; last but one who was put out, last the rooms of the old one
-- ARGV: 6 field  7 incarnation  8 moves: only more than there were  9 "1" to be told all  10 the node whose rooms are declared
-- Replies: {OK, version, "1" if the lease of the old node runs or "0"} | {DUP}: it is there already |
--          {NOOP}: no such incarnation, or it has moved on | {FENCED} | {KEYS, node...}: declare their inboxes, ask again |
--          {RIVAL, node}: declare its rooms, ask again | {OUT, how}: a moderator put it out

-- The nodes of the room that are condemned or have stopped: nothing more comes of them.
local function silent(nodes)
  local found = {}
  for node in pairs(nodes) do
    if fenced(node) then found[#found + 1] = node end
  end
  return found
end

if fenced(ARGV[1]) then return {'FENCED'} end
local present = redis.call('HGET', KEYS[2], ARGV[6])
local member = present and cmsgpack.unpack(present)
if not member or member[2] ~= ARGV[7] then
  local how = how_out(KEYS[#KEYS - 1], ARGV[7])
  return how and {'OUT', how} or {'NOOP'}
end
local old, moves = member[1], tonumber(ARGV[8])
if old == ARGV[1] and member[6] == moves then return {'DUP'} end
if member[6] >= moves then return {'NOOP'} end
if old ~= ARGV[10] then return {'RIVAL', old} end
local state, nodes = load_nodes()
local missing = undeclared(nodes)
if missing then return missing end

local version = bump(state)
member[1], member[6] = ARGV[1], moves
redis.call('HSET', KEYS[2], ARGV[6], cmsgpack.pack(member))
tell(nodes, state, version, {{'>', ARGV[7], ARGV[1], moves, silent(nodes)}})
if not nodes[ARGV[1]] or ARGV[9] == '1' then
  tell_all_of_it(ARGV[1], version, '')
  redis.call('SADD', KEYS[4], ARGV[2])
end
redis.call('HINCRBY', KEYS[3], ARGV[1], 1)
if redis.call('HINCRBY', KEYS[3], old, -1) <= 0 then
  redis.call('HDEL', KEYS[3], old)
  redis.call('SREM', KEYS[#KEYS], ARGV[2])
end
local deadline, time = redis.call('ZSCORE', KEYS[1], old), redis.call('TIME')
local lives = deadline and tonumber(deadline) > time[1] * 1000 + math.floor(time[2] / 1000)
return {'OK', text(version), lives and '1' or '0'}
