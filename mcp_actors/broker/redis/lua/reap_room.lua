-- Take the members of a condemned node out of a room, in one version; or, while they may still go on at another node, let
-- them be away.
--
-- KEYS, ARGV 1-5: as in common.lua, the node being the condemned one; last the rooms that it left members in
-- ARGV: 6 the reason with which they leave, or "" to let them be away
-- Replies: {OK, incarnation...}: those that left | {ALIVE}: it is not condemned | {KEYS, node...}

local deadline = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not deadline or tonumber(deadline) >= 0 then return {'ALIVE'} end
local state, nodes = load_nodes()
if ARGV[6] ~= '' then nodes[ARGV[1]] = nil end -- else it is told, for those who go on with its members
local missing = undeclared(nodes)
if missing then return missing end

local changes, reply, flat = {}, {'OK'}, redis.call('HGETALL', KEYS[2])
for i = 1, #flat, 2 do
  local member = cmsgpack.unpack(flat[i + 1])
  if member[1] == ARGV[1] then
    if ARGV[6] ~= '' then
      redis.call('HDEL', KEYS[2], flat[i])
      redis.call('HINCRBY', KEYS[3], '#c' .. kind_of(flat[i]), -1)
      changes[#changes + 1] = {'-', member[2], ARGV[6], flat[i]}
      reply[#reply + 1] = member[2]
    elseif member[5] ~= '1' then
      member[5] = '1'
      redis.call('HSET', KEYS[2], flat[i], cmsgpack.pack(member))
      changes[#changes + 1] = {'~', member[2], '1', flat[i]}
    end
  end
end
redis.call('SREM', KEYS[4], ARGV[2])
if ARGV[6] ~= '' then
  redis.call('SREM', KEYS[#KEYS], ARGV[2])
  redis.call('HDEL', KEYS[3], ARGV[1])
else
  redis.call('SADD', KEYS[#KEYS], ARGV[2])
end
if #changes > 0 then tell(nodes, state, bump(state), changes) end
end_if_empty()
return reply
