-- Revoke tokens, or lift a revocation, and tell all nodes.
--
-- field: "jti:" or "sub:" + what the tokens have. revocation: JSON, or "" to lift. ends: when it ends (ms). max: how many there
-- may be. The remaining keys are the inboxes of all nodes.
-- Replies: {OK} | {LIMIT}: there are as many as there may be | {NOOP}: there is none to lift | {FENCED} | {KEYS, node...}

takes_nodes({'nodes', 'revocations', 'revocation_ends'},
  {'node', 'inbox_prefix', 'max_entries', 'field', 'revocation', 'ends', 'max'})

local refusal = refused()
if refusal then return refusal end
forget_ended_revocations()
if args.revocation == '' then
  if redis.call('HDEL', keys.revocations, args.field) == 0 then return {'NOOP'} end
  redis.call('ZREM', keys.revocation_ends, args.field)
else
  local is_new = not redis.call('HGET', keys.revocations, args.field)
  if is_new and redis.call('ZCARD', keys.revocation_ends) >= tonumber(args.max) then return {'LIMIT'} end
  keep_revocation(args.field, args.revocation, args.ends)
end
for node in pairs(nodes) do
  append_entry(node, 'type', 'revocation', 'field', args.field, 'revocation', args.revocation)
end
return {'OK'}
