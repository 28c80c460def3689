-- Tell all members of a room what the application says.
--
-- nonce: of this announcement, as a command may be sent again. content: JSON.
-- Replies: {OK, version} | {NOOP, ""}: nobody is in the room | {FENCED} | {KEYS, node...}

takes_room({}, {'nonce', 'content'})

local refusal = refused()
if refusal then return refusal end
local last = '#announced:' .. args.node
if not state['#version'] then return {'NOOP', ''} end
if state[last] == args.nonce then return {'OK', state['#version']} end

local version = bump()
redis.call('HSET', keys.state, last, args.nonce)
publish(version, {{change = 'announced', content = args.content}})
return {'OK', text(version)}
