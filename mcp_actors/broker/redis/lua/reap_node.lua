-- Forget a condemned node that has no member in any room any more, and leave a tombstone for a while.
--
-- KEYS: 1 nodes  2 node-rooms  3 inbox  4 tombstone  5 the rooms that it left members in
-- ARGV: 1 node  2 life of the tombstone (ms)
-- Replies: 1, or 0 if it is not condemned or still in a room

local deadline = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not deadline or tonumber(deadline) >= 0 or redis.call('EXISTS', KEYS[2], KEYS[5]) > 0 then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('DEL', KEYS[3])
redis.call('SET', KEYS[4], '1', 'PX', ARGV[2])
return 1
