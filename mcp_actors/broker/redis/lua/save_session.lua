-- Record which node has a session, and what another node needs to resume it. A record of an earlier epoch is ignored, as is an
-- earlier generation of the same epoch: the node that had the session before may write late.
--
-- oldest: the first generation whose token the client may still have. owner: who may resume it. left: what a stopping node
-- leaves behind, or "". removed: the rooms from which moderators removed it, or "". life_ms: how long Redis keeps the record.
-- epoch: how often other nodes had taken the session over before. asked_at: when the client asked to resume it (ms), or "".
-- Replies: {OK} | {NOOP}: there is a later record

takes({'session'}, {'node', 'generation', 'oldest', 'owner', 'rooms', 'left', 'removed', 'life_ms', 'epoch', 'asked_at'})

local known = redis.call('HMGET', keys.session, 'epoch', 'generation', 'asked-at')
local ahead = tonumber(known[1] or 0) - args.epoch
if ahead > 0 or (ahead == 0 and tonumber(known[2] or 0) > tonumber(args.generation)) then return {'NOOP'} end
redis.call('DEL', keys.session) -- first, so that Redis goes on when its memory is full
for _, field in ipairs({'node', 'generation', 'oldest', 'owner', 'rooms', 'left', 'removed', 'epoch'}) do
  redis.call('HSET', keys.session, field, args[field])
end
local asked_at = args.asked_at ~= '' and args.asked_at or known[3]
if asked_at then redis.call('HSET', keys.session, 'asked-at', asked_at) end
redis.call('PEXPIRE', keys.session, args.life_ms)
return {'OK'}
