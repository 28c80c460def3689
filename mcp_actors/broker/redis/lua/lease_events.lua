-- Make a node the one that reports the events, for lease_ms, or renew its lease; 0 gives it up. While nobody reports them, they
-- are kept for keep_ms.
--
-- reports: hash: "node" and "until" (ms): who reports; "id": of this log, proposed by its first node; "dropped": events that were
-- dropped; "told": of how many of them the application knows; "telling": of how many it is being told. The range that is being
-- told stays the same until it is known, whoever tells it.
-- Replies: {OK, id, told, telling, events} | {BUSY, ms}: another node reports them

takes({'nodes', 'events', 'reports'}, {'node', 'lease_ms', 'keep_ms', 'id'})

local time = now()
local known = redis.call('HMGET', keys.reports, 'node', 'until', 'dropped', 'told', 'telling')
local holder, deadline = known[1] or '', tonumber(known[2] or 0)
if holder ~= args.node and holder ~= '' and deadline > time then return {'BUSY', text(deadline - time)} end
if args.lease_ms == '0' then
  redis.call('HDEL', keys.reports, 'node', 'until')
else
  redis.call('HSET', keys.reports, 'node', args.node, 'until', text(time + args.lease_ms))
  redis.call('HSETNX', keys.reports, 'id', args.id)
end
local dropped, told = tonumber(known[3] or 0), tonumber(known[4] or 0)
local telling = tonumber(known[5] or 0)
if telling <= told and dropped > told then
  telling = dropped
  redis.call('HSET', keys.reports, 'telling', text(telling))
end
redis.call('PEXPIRE', keys.events, args.keep_ms)
redis.call('PEXPIRE', keys.reports, args.keep_ms)
return {'OK', redis.call('HGET', keys.reports, 'id') or '', text(told), text(math.max(told, telling)),
  text(redis.call('XLEN', keys.events))}
