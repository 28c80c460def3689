-- Write again what a node knows of revocations, after Redis may have lost them.
--
-- known: msgpack list of {field, revocation (JSON), when it ends (ms)}.
-- Replies: {OK} | {FENCED}

takes({'nodes', 'revocations', 'revocation_ends'}, {'node', 'known'})

if is_fenced(args.node) then return {'FENCED'} end
for _, one in ipairs(cmsgpack.unpack(args.known)) do
  if not redis.call('HGET', keys.revocations, one[1]) then keep_revocation(one[1], one[2], text(one[3])) end
end
forget_ended_revocations()
return {'OK'}
