-- Make the members of a node in a room those that the node has, and send the node a snapshot of the room. All else that is
-- stored of the room is made to agree with its members; if it did not, the other nodes of the room are told to do the same.
--
-- token: comes back with the snapshot. lock: the lock as the node knows it, in the form of "#lock"; the later version counts,
-- as long as the node has members in the room. members: msgpack list of {member, confirmed}: if not confirmed, a request of
-- the node decides whether the member is in the room. The node of a member may be another, to which it has just moved. If two nodes have a member, the node with the higher epoch keeps it; and
-- of two members that cannot be there together, the one that joined later stays, as Redis lost that the other left.
-- elsewhere: msgpack map of the members that the node knows at others, incarnation -> {node, epoch}: Redis may have lost that they
-- moved. kicked: msgpack list of {incarnation, notice}: members that the node knows to have been kicked, which Redis may have lost;
-- they are kept out for keep_out_ms. lease_ms: for nodes that have members and are not registered: they renew the lease, or are reaped.
-- Of the metadata of a member the one that was set last counts.
-- Replies: {OK, incarnation, how, notice, ...}: members that lost their place: to another ("") or removed by a moderator
--          ("kicked", "room-closed") | {FENCED} | {KEYS, node...}

takes_room({}, {'token', 'lock', 'members', 'elsewhere', 'kicked', 'keep_out_ms', 'lease_ms'})

local function delete_unless(kind, key)
  local found = redis.call('TYPE', key).ok
  if found ~= kind and found ~= 'none' then redis.call('DEL', key) end
end

-- Derive from the members what else is stored of the room.
local function repair(members)
  local counts, present, last, deadline = {}, {peer = 0, user = 0}, {peer = 0, user = 0}, now() + args.lease_ms
  for _, member in ipairs(members) do
    counts[member.node] = (counts[member.node] or 0) + 1
    present[member.kind] = present[member.kind] + 1
    last[member.kind] = math.max(last[member.kind], member.order)
  end
  for node in pairs(nodes) do
    delete_unless('set', room_sets[node])
    if counts[node] then redis.call('ZADD', keys.nodes, 'NX', text(deadline), node) end
    redis.call('HDEL', keys.state, node)
    count_node(node, counts[node] or 0)
  end
  for kind, count in pairs(present) do
    if count ~= counted('#present:' .. kind) then redis.call('HSET', keys.state, '#present:' .. kind, count) end
    if last[kind] > counted('#joins:' .. kind) then redis.call('HSET', keys.state, '#joins:' .. kind, text(last[kind])) end
  end
end

if is_fenced(args.node) then return {'FENCED'} end
local known, damaged = load_all()
local all_announced = cmsgpack.unpack(args.members)
for _, member in ipairs(known) do nodes[member.node] = nodes[member.node] or 0 end
for _, announced in ipairs(all_announced) do nodes[announced.member.node] = nodes[announced.member.node] or 0 end
local missing = undeclared()
if missing then return missing end

delete_unless('hash', keys.members)
delete_unless('hash', keys.state)
for _, field in ipairs(damaged) do redis.call('HDEL', keys.members, field) end
local sound = is_sound()
if not sound then
  for node in pairs(nodes) do
    if node ~= args.node then append_entry(node, 'type', 'damaged', 'room', args.room) end
  end
end
repair(known)

local by_field, orders = {}, {peer = {}, user = {}}
for _, member in ipairs(known) do
  by_field[field_of(member)] = member
  orders[member.kind][member.order] = true
end

local still_here = {}
for _, announced in ipairs(all_announced) do still_here[announced.member.incarnation] = true end

local notices = {}
for _, one in ipairs(cmsgpack.unpack(args.kicked)) do
  notices[one.incarnation] = one.notice
  if not how_removed(one.incarnation) then keep_out({one}, 'kicked', args.keep_out_ms, one.notice) end
end

local changes, kept, gone, reply, latest, elsewhere = {}, {}, {}, {'OK'}, {}, cmsgpack.unpack(args.elsewhere)
local function move(member, node, epoch)
  count_node(member.node, -1)
  count_node(node, 1)
  member.node, member.epoch = node, epoch
  save(member)
  changes[#changes + 1] = moved(member, {})
end
for field, member in pairs(by_field) do
  local now_at = elsewhere[member.incarnation]
  if notices[member.incarnation] then
    remove(member)
    changes[#changes + 1] = left(member, 'kicked', notices[member.incarnation])
    by_field[field], orders[member.kind][member.order], gone[member] = nil, nil, true
  elseif member.node == args.node and now_at and now_at.epoch > member.epoch then
    move(member, now_at.node, now_at.epoch)
  elseif member.node == args.node and not still_here[member.incarnation] then -- its id may have a new member already
    remove(member, 'disconnected')
    changes[#changes + 1] = left(member, 'disconnected')
    by_field[field], orders[member.kind][member.order], gone[member] = nil, nil, true
  end
end

local function identity(member) return member.kind .. ':' .. member.id end
local owned, claimed = {}, {} -- the ids of users that are here, with a token and without: no id is in both
local function note_user(member)
  if member.kind == 'user' then (member.verified and owned or claimed)[member.id] = true end
end
local function rivals_here(member)
  if member.kind == 'peer' then return {by_field[field_of(member)]} end
  local rivals = {}
  if (member.verified and claimed or owned)[member.id] then
    for _, one in pairs(by_field) do
      if one.kind == 'user' and one.id == member.id and one.verified ~= member.verified then rivals[#rivals + 1] = one end
    end
  end
  return rivals
end
local function is_latest(member, rivals)
  for _, rival in ipairs(rivals) do
    if rival.order >= member.order then return false end
  end
  return true
end
for _, member in pairs(by_field) do note_user(member) end
local function compare(member)
  local field = identity(member)
  if not latest[field] or latest[field].updated < member.updated then
    latest[field] = {updated = member.updated, metadata = member.metadata}
  end
end
for _, member in ipairs(known) do compare(member) end

for _, announced in ipairs(all_announced) do
  local member, field = announced.member, field_of(announced.member)
  local present = by_field[field]
  if present and present.incarnation == member.incarnation then
    compare(member)
    if present.node == member.node then
      kept[field] = true
    elseif present.epoch < member.epoch then
      kept[field] = true
      move(present, member.node, member.epoch)
    end
  elseif announced.confirmed then
    local how, notice = how_removed(member.incarnation)
    local rivals = rivals_here(member)
    if how or not is_latest(member, rivals) or orders[member.kind][member.order] then
      append(reply, {member.incarnation, how or '', notice or ''})
    else
      for _, rival in ipairs(rivals) do
        remove(rival, 'disconnected')
        changes[#changes + 1] = left(rival, 'disconnected')
        by_field[field_of(rival)], orders[rival.kind][rival.order], gone[rival] = nil, nil, true
      end
      kept[field] = true
      orders[member.kind][member.order] = true
      add(member)
      if member.node ~= args.node then redis.call('ZADD', keys.nodes, 'NX', text(now() + args.lease_ms), member.node) end
      note_user(member)
      compare(member)
      known[#known + 1] = member
      local counter = '#joins:' .. member.kind
      if member.order > tonumber(redis.call('HGET', keys.state, counter) or 0) then
        redis.call('HSET', keys.state, counter, text(member.order))
      end
      changes[#changes + 1] = joined(member)
    end
  end
end
local corrected = {}
for _, member in ipairs(known) do
  local field = identity(member)
  if not gone[member] and member.updated < latest[field].updated then
    member.updated, member.metadata = latest[field].updated, latest[field].metadata
    save(member)
    if by_field[field_of(member)] == member and not corrected[field] then changes[#changes + 1] = updated(member) end
    corrected[field] = true
  end
end

local version, lock = tonumber(state['#version'] or 0), tonumber(args.lock)
local relock = next(kept) and math.abs(lock) > math.abs(tonumber(state['#lock'] or 0)) and (lock > 0) ~= is_locked()
if relock then changes[#changes + 1] = locked(lock > 0) end
if #changes > 0 or state['#run'] ~= args.run then
  version = bump()
  if relock then set_lock(lock > 0, version) end
  nodes[args.node] = nil
  publish(version, changes)
end
send_snapshot(args.node, version, args.token)
if sound then drop_if_empty() end -- else the nodes that have members there are about to announce them
return reply
