-- Fence the nodes whose lease has expired: every script refuses them until they attach again. Other nodes have window_ms to
-- take over the sessions of their members.
--
-- Replies: three for each fenced node: its id, "1" if its window is over or "0", "1" if it was fenced by this call or "0"

takes({'nodes'}, {'max_nodes', 'window_ms'})

local time, reply = now(), {}
local expired = redis.call('ZRANGEBYSCORE', keys.nodes, '-inf', time, 'WITHSCORES', 'LIMIT', 0, args.max_nodes)
for i = 1, #expired, 2 do
  local leave_at = -tonumber(expired[i + 1])
  local fresh = leave_at <= 0
  if fresh then
    leave_at = time + args.window_ms
    redis.call('ZADD', keys.nodes, text(-leave_at), expired[i])
  end
  append(reply, {expired[i], leave_at <= time and '1' or '0', fresh and '1' or '0'})
end
return reply
