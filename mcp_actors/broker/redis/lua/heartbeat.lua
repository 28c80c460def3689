-- Renew the lease of a node, add a probe to its inbox, and trim the entries before the id trim_before.
--
-- Replies: {OK, number of nodes whose lease has expired, entries in the inbox} | {FENCED}

takes({'nodes', 'inbox', 'config'}, {'node', 'lease_ms', 'inbox_ms', 'probe', 'trim_before'})

if is_fenced(args.node) or redis.call('EXISTS', keys.inbox) == 0 then return {'FENCED'} end
local time = now()
redis.call('ZADD', keys.nodes, time + args.lease_ms, args.node)
redis.call('PEXPIRE', keys.inbox, args.inbox_ms)
redis.call('PEXPIRE', keys.config, args.inbox_ms)
redis.call('XADD', keys.inbox, '*', 'type', 'probe', 'number', args.probe)
if args.trim_before ~= '' then redis.call('XTRIM', keys.inbox, 'MINID', '~', args.trim_before) end
return {'OK', redis.call('ZCOUNT', keys.nodes, '-inf', time), redis.call('XLEN', keys.inbox)}
