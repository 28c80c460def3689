-- Delete a fenced node that has no members left, and leave a tombstone for tombstone_ms. left: the rooms in which it left
-- detached members. keep_inbox: "1" if the node itself asks and goes on: other nodes may still need what is in its inbox.
--
-- Replies: 1, or 0 if the node is not fenced or still in a room

takes({'nodes', 'rooms', 'inbox', 'tombstone', 'left'}, {'node', 'tombstone_ms', 'keep_inbox'})

local deadline = redis.call('ZSCORE', keys.nodes, args.node)
if not deadline or tonumber(deadline) >= 0 or redis.call('EXISTS', keys.rooms, keys.left) > 0 then return 0 end
redis.call('ZREM', keys.nodes, args.node)
if args.keep_inbox ~= '1' then redis.call('DEL', keys.inbox) end
redis.call('SET', keys.tombstone, '1', 'PX', args.tombstone_ms)
return 1
