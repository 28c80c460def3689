-- Tell all members of a room what the application says, or one peer, or all connections of one user.
--
-- nonce: of this announcement, as a command may be sent again; "" if it is not. content: JSON. kind, id: whom to tell, or "" for all.
-- Replies: {OK, version} | {NOOP, version or ""}: nobody to tell is in the room | {FENCED} | {KEYS, node...}

takes_room({}, {'nonce', 'content', 'kind', 'id'})

local refusal = refused()
if refusal then return refusal end
local last = '#announced:' .. args.node
if not state['#version'] then return {'NOOP', ''} end
if args.nonce ~= '' and state[last] == args.nonce then return {'OK', state['#version']} end
if args.kind ~= '' and #members_of(args.kind, args.id) == 0 then return {'NOOP', state['#version']} end

local version = bump()
if args.nonce ~= '' then redis.call('HSET', keys.state, last, args.nonce) end
publish(version, {{change = 'announced', content = args.content, kind = args.kind, id = args.id}})
return {'OK', text(version)}
