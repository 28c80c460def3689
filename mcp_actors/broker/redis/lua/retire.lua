-- Let a node go that leaves members behind, whose sessions may go on at other nodes for a while.
--
-- KEYS: 1 nodes
-- ARGV: 1 node  2 ms that they have
-- Replies: 1

local time = redis.call('TIME')
local till = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[2]
redis.call('ZADD', KEYS[1], string.format('%.0f', -till), ARGV[1])
return 1
