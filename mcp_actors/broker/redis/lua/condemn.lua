-- Condemn the nodes whose lease has run out: from here on every script refuses them, until they attach anew.
--
-- KEYS: 1 nodes
-- ARGV: 1 how many at most
-- Replies: the condemned nodes, those of before included

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local expired = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
for _, node in ipairs(expired) do redis.call('ZADD', KEYS[1], -1, node) end
return expired
