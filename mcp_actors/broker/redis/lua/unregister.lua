-- Unregister a node that stops. If it leaves members behind, it is fenced instead: other nodes have window_ms to take their
-- sessions over. The last node deletes the configuration.
--
-- Replies: 1, or 0 if the node was fenced

takes({'nodes', 'rooms', 'inbox', 'config'}, {'node', 'window_ms'})

if redis.call('EXISTS', keys.rooms) == 1 then
  redis.call('ZADD', keys.nodes, text(-(now() + args.window_ms)), args.node)
  return 0
end
redis.call('ZREM', keys.nodes, args.node)
redis.call('DEL', keys.inbox)
if redis.call('EXISTS', keys.nodes) == 0 then redis.call('DEL', keys.config) end
return 1
