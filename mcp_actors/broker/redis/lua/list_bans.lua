-- Read the bans of a room, those that end first before others.
--
-- field, incarnation: of the moderator.
-- Replies: {OK, version or "", kind, id, ms until it ends, notice, by, "1" if it is for addresses or "0", ...} |
--          {NOOP, version or ""}: the moderator is not in the room at this node | {FENCED} | {KEYS, node...}

takes_room({}, {'field', 'incarnation'})

local refusal = refused()
if refusal then return refusal end
if not load_own(args.field, args.incarnation) then return {'NOOP', state['#version'] or ''} end

local bans, time, reply = load_bans(), now(), {'OK', state['#version'] or ''}
table.sort(bans, function(one, other) return one.ends < other.ends end)
for _, ban in ipairs(bans) do
  append(reply, {ban.kind, ban.id, text(ban.ends - time), ban.notice, ban.by, #ban.addresses > 0 and '1' or '0'})
end
return reply
