-- Note which node has a session, and what another must know to go on with it. The word of an earlier generation is void.
--
-- KEYS: 1 session
-- ARGV: 1 node  2 generation  3 the first generation whose token the client may still have
--       4 whose it is  5 its rooms  6 what the node leaves behind of it, "" while it has it  7 life of the note (ms)
--       8 the rooms that moderators put it out of, "" if none did
-- Replies: {OK} | {NOOP}: there is a later generation

local generation = redis.call('HGET', KEYS[1], 'generation')
if generation and tonumber(generation) > tonumber(ARGV[2]) then return {'NOOP'} end
redis.call('HSET', KEYS[1], 'node', ARGV[1], 'generation', ARGV[2], 'oldest', ARGV[3], 'whose', ARGV[4], 'rooms', ARGV[5])
if ARGV[6] ~= '' then redis.call('HSET', KEYS[1], 'left', ARGV[6]) else redis.call('HDEL', KEYS[1], 'left') end
if ARGV[8] ~= '' then redis.call('HSET', KEYS[1], 'out', ARGV[8]) else redis.call('HDEL', KEYS[1], 'out') end
redis.call('HDEL', KEYS[1], 'until')
redis.call('PEXPIRE', KEYS[1], ARGV[7])
return {'OK'}
