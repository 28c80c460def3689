-- Take a session over from another node with a token of it; for hold_ms no other node can. Repeating the call changes nothing,
-- until the calling node saves the session: the reply may have been lost for longer than it holds the session.
--
-- A token is spent once the client is known to have a later one: the reply with the later one may have been lost. A token
-- later than the record is valid: its node was lost before it saved the record.
--
-- asked_at: when the client asked for it (ms), or "" if that is not known. Once the client has resumed the session by another
-- connection, a request that it made before that, or at the same time, is refused unless it has the latest token.
-- Replies: {OK, generation, oldest, rooms, left, removed, epoch}: as in save_session.lua | {NONE}: there is no such session, it
--          belongs to another client or to the calling node, or the token is spent | {LATER}: another node is taking it over, or
--          nodes are still saving the records of their sessions again, as some may have been lost |
--          {SUPERSEDED}: the client has resumed it by another connection | {FENCED}

local SAME_TIME_MS = 100 -- nodes do not know the time of Redis more exactly

takes({'nodes', 'session', 'config'}, {'node', 'generation', 'owner', 'hold_ms', 'asked_at'})

if is_fenced(args.node) then return {'FENCED'} end
local fields = {'node', 'generation', 'oldest', 'owner', 'rooms', 'left', 'removed', 'epoch', 'held-until', 'asked-at'}
local found = name(redis.call('HMGET', keys.session, unpack(fields)), fields)
local token, time = tonumber(args.generation), now()
if not found.node or found.owner ~= args.owner or token < tonumber(found.oldest) then return recovering() or {'NONE'} end
local generation = tonumber(found.generation)
local held_until, own = found['held-until'], found.node == args.node
if own and not held_until then return recovering() or {'NONE'} end
if not own and time < tonumber(held_until or 0) then return {'LATER'} end
local asked, latest = tonumber(args.asked_at), tonumber(found['asked-at'])
local has_resumed = not own and not held_until and token < generation and latest and latest <= time
if has_resumed and asked and asked < latest + SAME_TIME_MS then return {'SUPERSEDED'} end
if not own or token >= generation then generation = math.max(generation, token) + 1 end
local epoch = tonumber(found.epoch or 0) + (own and 0 or 1)
redis.call('HSET', keys.session, 'node', args.node, 'generation', generation, 'epoch', epoch,
  'held-until', text(time + args.hold_ms))
if asked then redis.call('HSET', keys.session, 'asked-at', args.asked_at) end
return {'OK', text(generation), found.oldest, found.rooms, found.left, found.removed, text(epoch)}
