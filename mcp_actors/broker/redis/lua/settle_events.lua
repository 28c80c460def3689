-- Delete events that were reported, or given up.
--
-- ids: msgpack list of the ids of their entries. given_up: how many of them were given up. told: of how many dropped events the
-- application knows, or "". An event that was reported although it was dropped meanwhile was not dropped.
-- Replies: {OK} | {LOST}: another node reports the events

takes({'nodes', 'events', 'reports'}, {'node', 'ids', 'given_up', 'told'})

if redis.call('HGET', keys.reports, 'node') ~= args.node then return {'LOST'} end
local ids, missing = cmsgpack.unpack(args.ids), 0
for _, id in ipairs(ids) do
  missing = missing + 1 - redis.call('XDEL', keys.events, id)
end
local known = redis.call('HMGET', keys.reports, 'dropped', 'told', 'telling')
local dropped = tonumber(known[1] or 0)
local changed = math.max(dropped - missing, tonumber(known[2] or 0), tonumber(known[3] or 0), 0)
changed = math.min(changed, dropped) + tonumber(args.given_up)
if changed ~= dropped then redis.call('HSET', keys.reports, 'dropped', text(changed)) end
if args.told ~= '' then redis.call('HSET', keys.reports, 'told', args.told) end
return {'OK'}
