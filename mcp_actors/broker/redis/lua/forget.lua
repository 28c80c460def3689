-- Forget a session that has ended at a node; if another has it by now, or has had it, that one's word counts.
--
-- KEYS: 1 session
-- ARGV: 1 node
-- Replies: {OK} | {NOOP}: that node does not have it

if redis.call('HGET', KEYS[1], 'node') ~= ARGV[1] then return {'NOOP'} end
redis.call('DEL', KEYS[1])
return {'OK'}
