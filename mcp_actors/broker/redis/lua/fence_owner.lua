-- Fence the earlier owners of a member that moved to the calling node, which goes on without their handover. What they send for
-- the member and what they still accept for it is stale from this change on, in the order of all changes of the room.
--
-- epoch: that of the member at the calling node.
-- Replies: {OK, version} | {NOOP}: it is not in the room at this node with that epoch | {FENCED} | {KEYS, node...}

takes_room({}, {'field', 'incarnation', 'epoch'})

local refusal = refused()
if refusal then return refusal end
local member = load_own(args.field, args.incarnation)
if not member or member.epoch ~= tonumber(args.epoch) then return {'NOOP'} end

local version = bump()
publish(version, {owner_fenced(member)})
return {'OK', text(version)}
