-- Lock a room, which then lets in only those who may moderate it, or unlock it, and tell every node that has members there.
--
-- KEYS, ARGV 1-5: as in common.lua, the node being that of the moderator
-- ARGV: 6 field of the moderator  7 incarnation  8 "1" to lock it, "0" to unlock it
-- Replies: {OK, version} | {NOOP, version or ""}: the moderator is not at that node in the room, or it is so already | {FENCED} |
--          {KEYS, node...}

if fenced(ARGV[1]) then return {'FENCED'} end
local state, nodes = load_nodes()
if not is_here(ARGV[6], ARGV[7]) or is_locked(state) == (ARGV[8] == '1') then return {'NOOP', state['#v'] or ''} end
local missing = undeclared(nodes)
if missing then return missing end

local version = bump(state)
set_lock(ARGV[8] == '1', version)
tell(nodes, state, version, {{'#', ARGV[8], ARGV[7]}})
return {'OK', text(version)}
