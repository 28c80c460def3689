-- Take all members of a condemned node out of a room, in one version.
--
-- KEYS, ARGV 1-5: as in common.lua, the node being the condemned one
-- Replies: {OK, how many} | {ALIVE}: it is not condemned | {KEYS, node...}

local deadline = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not deadline or tonumber(deadline) >= 0 then return {'ALIVE'} end
local state, nodes = load_nodes()
nodes[ARGV[1]] = nil
local missing = undeclared(nodes)
if missing then return missing end

local changes, flat = {}, redis.call('HGETALL', KEYS[2])
for i = 1, #flat, 2 do
  local member = cmsgpack.unpack(flat[i + 1])
  if member[1] == ARGV[1] then
    redis.call('HDEL', KEYS[2], flat[i])
    redis.call('HINCRBY', KEYS[3], '#c' .. kind_of(flat[i]), -1)
    changes[#changes + 1] = {'-', member[2], 'node-lost'}
  end
end
redis.call('SREM', KEYS[4], ARGV[2])
redis.call('HDEL', KEYS[3], ARGV[1])
if #changes > 0 then tell(nodes, state, bump(state), changes) end
end_if_empty()
return {'OK', tostring(#changes)}
