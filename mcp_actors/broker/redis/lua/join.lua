-- Let a member into a room, and tell every node that has members there; a node new to the room is told all of it.
-- Asked again for the same incarnation, it changes nothing.
--
-- A peer takes the place of one that is away under its id; the owner of the id, of anybody; and nobody else that of an
-- owner. See Member.yields_to.
--
-- KEYS, ARGV 1-5: as in common.lua, the node being that of the member; last but one the rooms of the node of whom it
--                 replaces (any, if it replaces nobody), last the configuration
-- ARGV: 6 field  7 incarnation  8 text of the member  9 members of its kind the room may hold  10 "1" to be told all
--       11 the node whose rooms are declared as last key but one  12 "1" if it gets in though the room is locked
-- Replies: {LATER, ms}: other nodes are still announcing their members after a restart of the server |
--          {OK, version} | {DUP} | {TAKEN, version} | {FULL, version} | {LOCKED, version} | {FENCED} |
--          {KEYS, node...}: declare their inboxes, ask again | {RIVAL, node}: declare its rooms, ask again

local ABOVE = 1000001 -- the first order in a room whose counter may have been lost

-- Whether the text of a member ends so is enough, and decoding what clients put into it could fail.
local function verified(member) return string.sub(member, -6) == ',true]' end

local function yields(present, newcomer)
  return verified(newcomer) or (present[5] == '1' and not verified(present[4]))
end

if fenced(ARGV[1]) then return {'FENCED'} end
local later = still_announced(KEYS[#KEYS])
if later then return later end
local lost = false
local until_ = redis.call('HGET', KEYS[#KEYS], 'lost-until')
if until_ then
  local time = redis.call('TIME')
  lost = time[1] * 1000 + math.floor(time[2] / 1000) < tonumber(until_)
end
local present = redis.call('HGET', KEYS[2], ARGV[6])
present = present and cmsgpack.unpack(present)
if present and present[2] == ARGV[7] then return {'DUP'} end
local state, nodes = load_nodes()
if is_locked(state) and ARGV[12] ~= '1' then return {'LOCKED', state['#v']} end
if present then
  if not yields(present, ARGV[8]) then return {'TAKEN', state['#v']} end
  if present[1] ~= ARGV[11] then return {'RIVAL', present[1]} end
end
local kind = kind_of(ARGV[6])
if not present and tonumber(state['#c' .. kind] or 0) >= tonumber(ARGV[9]) then return {'FULL', state['#v']} end
local missing = undeclared(nodes)
if missing then return missing end

local version = bump(state)
local order = redis.call('HINCRBY', KEYS[3], '#o' .. kind, (lost and not state['#o' .. kind]) and ABOVE or 1)
local changes = {}
if present then
  changes[1] = {'-', present[2], 'replaced', ARGV[6]}
else
  redis.call('HINCRBY', KEYS[3], '#c' .. kind, 1)
end
changes[#changes + 1] = {'+', ARGV[1], ARGV[7], order, ARGV[8], '0', 0}
redis.call('HSET', KEYS[2], ARGV[6], cmsgpack.pack({ARGV[1], ARGV[7], order, ARGV[8], '0', 0}))
tell(nodes, state, version, changes)
if not nodes[ARGV[1]] or ARGV[10] == '1' then
  tell_all_of_it(ARGV[1], version, '')
  redis.call('SADD', KEYS[4], ARGV[2])
end
redis.call('HINCRBY', KEYS[3], ARGV[1], 1)
if present and redis.call('HINCRBY', KEYS[3], present[1], -1) <= 0 then
  redis.call('HDEL', KEYS[3], present[1])
  redis.call('SREM', KEYS[#KEYS - 1], ARGV[2])
end
return {'OK', text(version)}
