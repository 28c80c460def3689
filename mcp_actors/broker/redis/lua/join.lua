-- Let a member into a room, and tell every node that has members there; a node new to the room is told all of it.
-- Asked again for the same incarnation, it changes nothing.
--
-- KEYS, ARGV 1-5: as in common.lua, the node being that of the member; the last key is the configuration
-- ARGV: 6 field  7 incarnation  8 text of the member  9 members of its kind the room may hold  10 "1" to be told all
-- Replies: {LATER, ms}: other nodes are still announcing their members after a restart of the server |
--          {OK, version} | {DUP} | {TAKEN, version} | {FULL, version} | {FENCED} |
--          {KEYS, node...}: declare their inboxes, ask again

if fenced(ARGV[1]) then return {'FENCED'} end
local from = tonumber(redis.call('HGET', KEYS[#KEYS], 'joins-from') or 0)
if from > 0 then
  local time = redis.call('TIME')
  local wait = from - (time[1] * 1000 + math.floor(time[2] / 1000))
  if wait > 0 then return {'LATER', string.format('%.0f', wait)} end
end
local present = redis.call('HGET', KEYS[2], ARGV[6])
if present then
  if cmsgpack.unpack(present)[2] == ARGV[7] then return {'DUP'} end
  return {'TAKEN', redis.call('HGET', KEYS[3], '#v')}
end
local state, nodes = load_nodes()
local kind = kind_of(ARGV[6])
if tonumber(state['#c' .. kind] or 0) >= tonumber(ARGV[9]) then return {'FULL', state['#v']} end
local missing = undeclared(nodes)
if missing then return missing end

local version = bump(state)
local order = redis.call('HINCRBY', KEYS[3], '#o' .. kind, 1)
redis.call('HINCRBY', KEYS[3], '#c' .. kind, 1)
redis.call('HSET', KEYS[2], ARGV[6], cmsgpack.pack({ARGV[1], ARGV[7], order, ARGV[8]}))
tell(nodes, state, version, {{'+', ARGV[1], ARGV[7], order, ARGV[8]}})
if not nodes[ARGV[1]] or ARGV[10] == '1' then
  tell_all_of_it(ARGV[1], version, '')
  redis.call('SADD', KEYS[4], ARGV[2])
end
redis.call('HINCRBY', KEYS[3], ARGV[1], 1)
return {'OK', text(version)}
