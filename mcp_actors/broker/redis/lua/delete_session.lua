-- Delete the record of a session that ended at a node, unless another node has the session.
--
-- Replies: {OK} | {NOOP}: that node does not have it

takes({'session'}, {'node'})

if redis.call('HGET', keys.session, 'node') ~= args.node then return {'NOOP'} end
redis.call('DEL', keys.session)
return {'OK'}
