-- Remove all members from a room. The next join starts the room anew.
--
-- field, incarnation: of the moderator. keep_out_ms: how long the members cannot be claimed. notice: the words of the
-- moderator (JSON), or "".
-- Replies: {OK, version} | {NOOP, version or ""}: the moderator is not in the room at this node, or nobody is | {FENCED} |
--          {LATER, ms}: nodes are still announcing their members | {KEYS, node...}

takes_room({}, {'field', 'incarnation', 'keep_out_ms', 'notice'})

local refusal = recovering() or refused()
if refusal then return refusal end
if not state['#version'] or not load_own(args.field, args.incarnation) then return {'NOOP', state['#version'] or ''} end

local members, version = load_all(), bump()
publish(version, {closed(args.incarnation, args.notice)})
for node, count in pairs(nodes) do count_node(node, -count) end
keep_out(members, 'room-closed', args.keep_out_ms, args.notice)
redis.call('DEL', keys.members, keys.state)
for _, member in ipairs(members) do report_left(member, 'room-closed') end
report_closed()
return {'OK', text(version)}
