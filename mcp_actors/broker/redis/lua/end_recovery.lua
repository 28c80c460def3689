-- Tell the nodes of a room that a member's new node has recovered what it could of the messages for it at earlier nodes: those
-- that were sent there and are not answered by now are lost. The member may have left or moved on since.
--
-- epoch: with which the member moved to the calling node.
-- Replies: {OK, version} | {NOOP}: nobody is in the room | {FENCED} | {KEYS, node...}

takes_room({}, {'incarnation', 'epoch'})

local refusal = refused()
if refusal then return refusal end
if not state['#version'] then return {'NOOP'} end

local version = bump()
publish(version, {recovery_ended(args.incarnation, tonumber(args.epoch))})
return {'OK', text(version)}
