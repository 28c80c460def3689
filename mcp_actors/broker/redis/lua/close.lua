-- Put all members out of a room, for good, and tell every node that had members there. The next join begins the room anew.
--
-- KEYS, ARGV 1-5: as in kick.lua
-- ARGV: 6 field of the moderator  7 incarnation  8 ms in which those who were put out cannot be claimed
-- Replies: {OK, version} | {NOOP, version or ""}: the moderator is not at that node in the room | {FENCED} | {KEYS, node...} |
--          {LATER, ms}: as in join.lua

if fenced(ARGV[1]) then return {'FENCED'} end
local later = still_announced(KEYS[#KEYS - 1])
if later then return later end
local state, nodes = load_nodes()
if not is_here(ARGV[6], ARGV[7]) then return {'NOOP', state['#v'] or ''} end
local missing = undeclared(nodes)
if missing then return missing end

local gone, flat = {}, redis.call('HGETALL', KEYS[2])
for i = 1, #flat, 2 do gone[flat[i]] = cmsgpack.unpack(flat[i + 1]) end
local version = bump(state)
tell(nodes, state, version, {{'x', ARGV[7]}})
for _, member in pairs(gone) do leave_node(member[1]) end
put_out(gone, 'room-closed', ARGV[8])
redis.call('DEL', KEYS[2], KEYS[3])
return {'OK', text(version)}
