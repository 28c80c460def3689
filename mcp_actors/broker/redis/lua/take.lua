-- Let a node take a session over from another, by a token of it; one node at a time. Asked again by that node meanwhile,
-- it changes nothing.
--
-- A token is used up when the client is known to have a later one: the reply that brought that may have been lost. One
-- that is later than what is noted is good: its node was lost before it had noted it.
--
-- KEYS: 1 nodes  2 session
-- ARGV: 1 node  2 generation of the token  3 whose the session must be  4 ms in which no other node may take it
-- Replies: {OK, generation, the first whose token is good, rooms, what was left behind or "",
--               the rooms that moderators put it out of or ""} | {NONE}: no such session, it is another's, the node's own, or the token is used up |
--          {LATER}: another node is taking it over | {FENCED}

local deadline = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not deadline or tonumber(deadline) < 0 then return {'FENCED'} end
local found = redis.call('HMGET', KEYS[2], 'node', 'generation', 'oldest', 'whose', 'rooms', 'until', 'left', 'out')
if not found[1] or found[4] ~= ARGV[3] then return {'NONE'} end
local generation, node = tonumber(found[2]), found[1]
if tonumber(ARGV[2]) < tonumber(found[3]) then return {'NONE'} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if found[6] and now < tonumber(found[6]) then
  if node ~= ARGV[1] then return {'LATER'} end
  if tonumber(ARGV[2]) < generation then return {'OK', found[2], found[3], found[5], found[7] or '', found[8] or ''} end
elseif node == ARGV[1] then
  return {'NONE'}
end
local next = tostring(math.max(generation, tonumber(ARGV[2])) + 1)
local free = string.format('%.0f', now + ARGV[4])
redis.call('HSET', KEYS[2], 'node', ARGV[1], 'generation', next, 'until', free)
return {'OK', next, found[3], found[5], found[7] or '', found[8] or ''}
