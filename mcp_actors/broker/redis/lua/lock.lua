-- Lock ("1") or unlock ("0") a room: a locked room admits moderators only.
--
-- field, incarnation: of the moderator.
-- Replies: {OK, version} | {NOOP, version or ""}: the moderator is not in the room at this node, or nothing changes, as in an
--          empty room |
--          {FENCED} | {KEYS, node...}

takes_room({}, {'field', 'incarnation', 'locked'})

local refusal = refused()
if refusal then return refusal end
local lock = args.locked == '1'
local may = state['#version'] and load_own(args.field, args.incarnation)
if not may or is_locked() == lock then return {'NOOP', state['#version'] or ''} end

local version = bump()
set_lock(lock, version)
publish(version, {locked(lock, args.incarnation)})
return {'OK', text(version)}
