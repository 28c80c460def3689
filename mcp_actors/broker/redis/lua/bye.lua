-- Let a node go that is in no room any more; the last one takes the configuration with it.
--
-- KEYS: 1 nodes  2 node-rooms  3 inbox  4 config
-- ARGV: 1 node
-- Replies: 1, or 0 if it is still in a room

if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('DEL', KEYS[3])
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('DEL', KEYS[4]) end
return 1
