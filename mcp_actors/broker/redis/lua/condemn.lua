-- Condemn the nodes whose lease has run out: from here on every script refuses them, until they attach anew. Their members
-- have time to go on at other nodes: as score of a condemned node stands, negative, when that is over.
--
-- KEYS: 1 nodes
-- ARGV: 1 how many at most  2 ms that their members have
-- Replies: for each condemned node its name, "1" if that time is over or "0", and "1" if it was condemned just now: or
--          "0", as it was before or has stopped

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local expired, reply = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'WITHSCORES', 'LIMIT', 0, ARGV[1]), {}
for i = 1, #expired, 2 do
  local till = -tonumber(expired[i + 1])
  local fresh = till <= 0
  if fresh then
    till = now + ARGV[2]
    redis.call('ZADD', KEYS[1], string.format('%.0f', -till), expired[i])
  end
  reply[#reply + 1] = expired[i]
  reply[#reply + 1] = till <= now and '1' or '0'
  reply[#reply + 1] = fresh and '1' or '0'
end
return reply
