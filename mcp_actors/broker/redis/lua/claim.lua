-- Move a member to the calling node, where its session resumes. A node that is new to the room gets a snapshot, or one that
-- asks for it with snapshot = "1". The member is attached from then on, so that no newcomer takes its place. Repeating the call
-- changes nothing.
--
-- epoch: must be higher than that of the member. owner: the node that has the member, as far as the caller knows; it learns
-- that before the move, as the snapshot may be faster than the reply.
-- Replies: {OK, version, "1" if the lease of the old node is valid or "0"} | {DUP}: it has moved here already |
--          {NOOP}: it is not in the room, or has moved on | {OWNER, node}: repeat the call with this owner |
--          {REMOVED, how, notice}: a moderator removed it | {FENCED} |
--          {LATER, ms}: it is not in the room, but nodes are still announcing their members | {KEYS, node...}

takes_room({}, {'field', 'incarnation', 'epoch', 'snapshot', 'owner'})

local refusal = refused()
if refusal then return refusal end
local member = load(args.field)
if not member or member.incarnation ~= args.incarnation then
  local how, notice = how_removed(args.incarnation)
  return how and {'REMOVED', how, notice} or recovering() or {'NOOP'}
end
local old, epoch = member.node, tonumber(args.epoch)
if old == args.node and member.epoch == epoch then return {'DUP'} end
if member.epoch >= epoch then return {'NOOP'} end
if old ~= args.owner then return {'OWNER', old} end

local version, silent = bump(), {} -- silent: the nodes of the room that are fenced and send nothing more
for node in pairs(nodes) do
  if is_fenced(node) then silent[#silent + 1] = node end
end
member.node, member.epoch = args.node, epoch
local changes = {moved(member, silent)}
if member.detached then
  member.detached = false
  changes[2] = presence(member)
end
save(member)
publish(version, changes)
if not nodes[args.node] or args.snapshot == '1' then send_snapshot(args.node, version, '') end
count_node(args.node, 1)
count_node(old, -1)
local deadline = redis.call('ZSCORE', keys.nodes, old)
return {'OK', text(version), deadline and tonumber(deadline) > now() and '1' or '0'}
