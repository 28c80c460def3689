-- Declare members gone whom Redis lost and whose node did not come back for them; who is there after all stays.
--
-- KEYS, ARGV 1-5: as in common.lua, the node being the one that asks
-- ARGV: 6... field and incarnation of each
-- Replies: {OK, how many} | {FENCED} | {KEYS, node...}

if fenced(ARGV[1]) then return {'FENCED'} end
local state, nodes = load_nodes()
local missing = undeclared(nodes)
if missing then return missing end

local changes = {}
for i = 6, #ARGV, 2 do
  local present = redis.call('HGET', KEYS[2], ARGV[i])
  if not present or cmsgpack.unpack(present)[2] ~= ARGV[i + 1] then
    changes[#changes + 1] = {'-', ARGV[i + 1], 'node-lost', ARGV[i]}
  end
end
if #changes > 0 and next(nodes) then tell(nodes, state, bump(state), changes) end
return {'OK', tostring(#changes)}
