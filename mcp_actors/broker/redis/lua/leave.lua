-- Remove a member from a room.
--
-- Replies: {OK, version} | {NOOP}: it is not in the room at this node | {FENCED} | {KEYS, node...}

takes_room({}, {'field', 'incarnation', 'reason'})

local refusal = refused()
if refusal then return refusal end
local member = load_own(args.field, args.incarnation)
if not member then return {'NOOP'} end

local version = bump()
remove(member, args.reason)
publish(version, {left(member, args.reason)})
drop_if_empty()
return {'OK', text(version)}
