-- Remove a peer, or all connections of a user, from a room, in one version; and ban the identity for ban_ms, if that is not 0.
--
-- A ban is for the id of this kind, and for the addresses of those that are removed. If the id was verified, or nobody was
-- there, it is also for those of either kind that are verified with it; they are removed, too.
-- field, incarnation: of the moderator. kind, id: whom to remove. keep_out_ms: how long they cannot be claimed. notice: the
-- words of the moderator (JSON), or "".
-- Replies: {OK, version} | {ABSENT, version or ""}: nobody was there to remove, but the id is banned | {LIMIT, version or ""}: the room
--          has as many bans as it may | {NOOP, version or ""}: the moderator is not in the room at this node, or there is
--          nobody to remove | {FENCED} | {LATER, ms}: nodes are still announcing their members | {KEYS, node...}

takes_room({}, {'field', 'incarnation', 'kind', 'id', 'keep_out_ms', 'notice', 'ban_ms', 'max_bans'})

local refusal = recovering() or refused()
if refusal then return refusal end
local moderator, unchanged = load_own(args.field, args.incarnation), state['#version'] or ''
if not moderator then return {'NOOP', unchanged} end

local targets, ban_ms = members_of(args.kind, args.id), tonumber(args.ban_ms)
if ban_ms > 0 then
  local owner, addresses, ends, field = #targets == 0, {}, now() + ban_ms, args.kind .. ':' .. args.id
  for _, member in ipairs(targets) do owner = owner or member.verified end
  for _, member in ipairs(owner and members_of(args.kind == 'peer' and 'user' or 'peer', args.id) or {}) do
    if member.verified then targets[#targets + 1] = member end
  end
  for _, member in ipairs(targets) do
    if member.address ~= '' then addresses[#addresses + 1] = member.address end
  end
  local bans, last = load_bans(), ends
  if #bans >= tonumber(args.max_bans) and not redis.call('HGET', keys.bans, field) then return {'LIMIT', unchanged} end
  for _, ban in ipairs(bans) do last = math.max(last, ban.ends) end
  redis.call('HSET', keys.bans, field, cmsgpack.pack({
    kind = args.kind, id = args.id, ends = ends, owner = owner, notice = args.notice, by = moderator.id, addresses = addresses
  }))
  redis.call('PEXPIRE', keys.bans, text(last - now()))
end
if #targets == 0 then return {ban_ms > 0 and 'ABSENT' or 'NOOP', unchanged} end

local version, changes = bump(), {}
for _, member in ipairs(targets) do changes[#changes + 1] = left(member, 'kicked', args.notice) end
publish(version, changes)
for _, member in ipairs(targets) do remove(member, 'kicked') end
keep_out(targets, 'kicked', args.keep_out_ms, args.notice)
drop_if_empty()
return {'OK', text(version)}
