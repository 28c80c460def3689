-- Record which node has a session, and what another node needs to resume it. A record of an earlier generation is ignored.
--
-- oldest: the first generation whose token the client may still have. owner: who may resume it. left: what a stopping node
-- leaves behind, or "". removed: the rooms from which moderators removed it, or "". life_ms: how long Redis keeps the record.
-- Replies: {OK} | {NOOP}: there is a later generation

takes({'session'}, {'node', 'generation', 'oldest', 'owner', 'rooms', 'left', 'removed', 'life_ms'})

local generation = redis.call('HGET', keys.session, 'generation')
if generation and tonumber(generation) > tonumber(args.generation) then return {'NOOP'} end
redis.call('DEL', keys.session) -- first, so that Redis goes on when its memory is full
for _, field in ipairs({'node', 'generation', 'oldest', 'owner', 'rooms', 'left', 'removed'}) do
  redis.call('HSET', keys.session, field, args[field])
end
redis.call('PEXPIRE', keys.session, args.life_ms)
return {'OK'}
