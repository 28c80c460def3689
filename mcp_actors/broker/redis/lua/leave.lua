-- Take a member out of a room, and tell every node that has members there, the asking one included.
--
-- KEYS, ARGV 1-5: as in common.lua, the node being that of the member
-- ARGV: 6 field  7 incarnation  8 reason
-- Replies: {OK, version} | {NOOP}: no such incarnation at that node | {FENCED} | {KEYS, node...}

if fenced(ARGV[1]) then return {'FENCED'} end
local present = redis.call('HGET', KEYS[2], ARGV[6])
present = present and cmsgpack.unpack(present)
if not present or present[2] ~= ARGV[7] or present[1] ~= ARGV[1] then return {'NOOP'} end
local state, nodes = load_nodes()
local missing = undeclared(nodes)
if missing then return missing end

local version = bump(state)
redis.call('HDEL', KEYS[2], ARGV[6])
redis.call('HINCRBY', KEYS[3], '#c' .. kind_of(ARGV[6]), -1)
tell(nodes, state, version, {{'-', ARGV[7], ARGV[8], ARGV[6]}})
count_node(ARGV[1], -1)
end_if_empty()
return {'OK', text(version)}
