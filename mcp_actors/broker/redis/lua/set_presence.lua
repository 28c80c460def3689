-- Mark a member as detached ("1") or attached ("0").
--
-- address: where it connects from, "" to keep what is known.
-- Replies: {OK} | {NOOP}: it is not in the room at this node, or nothing changes | {FENCED} | {KEYS, node...}

takes_room({}, {'field', 'incarnation', 'detached', 'address'})

local refusal = refused()
if refusal then return refusal end
local member, detached = load_own(args.field, args.incarnation), args.detached == '1'
if not member then return {'NOOP'} end
local is_known = args.address == '' or args.address == member.address
if member.detached == detached and is_known then return {'NOOP'} end

local changed = member.detached ~= detached
member.detached = detached
if not is_known then member.address = args.address end
save(member)
if changed then publish(bump(), {presence(member)}) end
return {'OK'}
