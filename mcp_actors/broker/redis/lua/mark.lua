-- Say that a member is away, or back, and tell every node that has members there.
--
-- KEYS, ARGV 1-5: as in common.lua, the node being that of the member
-- ARGV: 6 field  7 incarnation  8 "1" if it is away, "0" if not
-- Replies: {OK} | {NOOP}: no such incarnation at that node, or no news | {FENCED} | {KEYS, node...}

if fenced(ARGV[1]) then return {'FENCED'} end
local present = redis.call('HGET', KEYS[2], ARGV[6])
if not present then return {'NOOP'} end
local member = cmsgpack.unpack(present)
if member[2] ~= ARGV[7] or member[1] ~= ARGV[1] or member[5] == ARGV[8] then return {'NOOP'} end
local state, nodes = load_nodes()
local missing = undeclared(nodes)
if missing then return missing end

member[5] = ARGV[8]
redis.call('HSET', KEYS[2], ARGV[6], cmsgpack.pack(member))
tell(nodes, state, bump(state), {{'~', ARGV[7], ARGV[8], ARGV[6]}})
return {'OK'}
