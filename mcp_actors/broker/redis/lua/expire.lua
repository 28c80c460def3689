-- Publish the leave of members that Redis lost and whose node did not announce them again. Members that are in the room stay.
--
-- members: msgpack list of members.
-- Replies: {OK} | {FENCED} | {KEYS, node...}

takes_room({}, {'members'})

local refusal = refused()
if refusal then return refusal end

local changes, gone = {}, {}
for _, member in ipairs(cmsgpack.unpack(args.members)) do
  local present = load(field_of(member))
  if not present or present.incarnation ~= member.incarnation then
    changes[#changes + 1], gone[#gone + 1] = left(member, 'node-lost'), member
  end
end
if #changes > 0 and next(nodes) then
  publish(bump(), changes)
  for _, member in ipairs(gone) do report_left(member, 'node-lost') end
end
return {'OK'}
