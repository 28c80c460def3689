-- Remove the members of a fenced node from a room, in one version; or, without a reason, detach them, so that their sessions
-- can resume at another node. left: the rooms in which the node left detached members.
--
-- Replies: {OK, incarnation...}: the members that were removed | {ALIVE}: the node is not fenced | {KEYS, node...}

takes_room({'left'}, {'reason'})

local deadline = redis.call('ZSCORE', keys.nodes, args.node)
if not deadline or tonumber(deadline) >= 0 then return {'ALIVE'} end
local leave = args.reason ~= ''
if leave then nodes[args.node] = nil end -- else its inbox is told, for the nodes that recover from it
local missing = undeclared()
if missing then return missing end

local changes, reply = {}, {'OK'}
for _, member in ipairs(load_all()) do
  if member.node == args.node then
    if leave then
      remove(member, args.reason)
      changes[#changes + 1] = left(member, args.reason)
      reply[#reply + 1] = member.incarnation
    elseif not member.detached then
      member.detached = true
      save(member)
      changes[#changes + 1] = presence(member)
    end
  end
end
redis.call('SREM', room_sets[args.node], args.room)
if leave then
  redis.call('SREM', keys.left, args.room)
  redis.call('HDEL', keys.state, args.node, '#announced:' .. args.node)
else
  redis.call('SADD', keys.left, args.room)
end
if #changes > 0 then publish(bump(), changes) end
drop_if_empty()
return reply
