-- Delete a fenced node that has no members left, and leave a tombstone for tombstone_ms. left: the rooms in which it left
-- detached members.
--
-- Replies: 1, or 0 if the node is not fenced or still in a room

takes({'nodes', 'rooms', 'inbox', 'tombstone', 'left'}, {'node', 'tombstone_ms'})

local deadline = redis.call('ZSCORE', keys.nodes, args.node)
if not deadline or tonumber(deadline) >= 0 or redis.call('EXISTS', keys.rooms, keys.left) > 0 then return 0 end
redis.call('ZREM', keys.nodes, args.node)
redis.call('DEL', keys.inbox)
redis.call('SET', keys.tombstone, '1', 'PX', args.tombstone_ms)
return 1
