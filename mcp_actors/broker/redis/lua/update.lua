-- Replace the metadata of a member, and of all connections of the same user, in one version.
--
-- metadata: JSON.
-- Replies: {OK, version} | {NOOP, version or ""}: it is not in the room at this node, or nothing changes |
--          {FENCED} | {LATER, ms}: nodes are still announcing their members | {KEYS, node...}

takes_room({}, {'field', 'incarnation', 'metadata'})

local refusal = recovering() or refused()
if refusal then return refusal end
local member = load_own(args.field, args.incarnation)
if not member or member.metadata == args.metadata then return {'NOOP', state['#version'] or ''} end

local version = bump()
for _, one in ipairs(members_of(member.kind, member.id)) do
  one.metadata, one.updated = args.metadata, version
  save(one)
end
member.metadata, member.updated = args.metadata, version
publish(version, {updated(member, member.incarnation)})
return {'OK', text(version)}
