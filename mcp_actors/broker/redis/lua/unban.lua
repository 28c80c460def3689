-- Lift the ban of an id.
--
-- field, incarnation: of the moderator. kind, id: as in the kick that set the ban.
-- Replies: {OK, version or ""} | {NOOP, version or ""}: the moderator is not in the room at this node, or there is no such ban |
--          {FENCED} | {KEYS, node...}

takes_room({}, {'field', 'incarnation', 'kind', 'id'})

local refusal = refused()
if refusal then return refusal end
load_bans() -- without those that have ended
local may = load_own(args.field, args.incarnation)
if not may or redis.call('HDEL', keys.bans, args.kind .. ':' .. args.id) == 0 then return {'NOOP', state['#version'] or ''} end
return {'OK', state['#version'] or ''}
