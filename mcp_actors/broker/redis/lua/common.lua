-- The library in front of every script. A script names its keys and arguments with `takes`, or with `takes_room` if it
-- works on a room, and then reads them as keys.<name> and args.<name>.
--
-- The keys of a bucket:
--   nodes    sorted set: node -> end of its lease (ms). Once the node is fenced: minus the time when its members leave
--   config   hash: version and buckets of the deployment; "data": an id of all that is stored, new if everything was lost;
--            and, after a loss, the run that was lost in, how long joins wait, "announcing:" + each node that is not done with
--            announcing its members, and above which number, and until when, newcomers are counted
--   inbox    stream of a node; msgpack in its entries (see entries.py)
--   rooms    set of a node: the rooms in which it has members
--   members  hash of a room: "peer:" + id or "user:" + id + " " + incarnation -> msgpack map: node, incarnation, kind, id,
--            verified, order, detached, epoch, metadata (JSON), updated, address (see Member). The connections of a user
--            have the same metadata
--   state    hash of a room: node -> its members in the room; "#version"; "#run": the server run that issued the version;
--            "#joins:peer" and "#joins:user"; "#present:peer" and "#present:user"; "#lock": the version in which the
--            room was locked, or minus the version in which it was unlocked; "#announced:" + node: the last announcement
--            of its application
--   removed  sorted set of a room: "kicked:" or "room-closed:" + incarnation -> when (ms)
--   notices  hash of a room: when -> the words of the moderator to those that were removed then (JSON), if it had any
--   bans     hash of a room: "peer:" or "user:" + id -> msgpack map: kind, id, ends (ms), owner (whether it is for those
--            that are verified with the id, too), notice (JSON), by (id of the moderator), addresses
--   events   stream: what is to be reported to the application; msgpack in its entries (see event_log.py)
--   reports  hash: who reports it, until when (ms), and how many events were dropped (see lease_events.lua)
--   revocations      hash: "jti:" or "sub:" + what the tokens have -> the revocation (JSON)
--   revocation_ends  sorted set: the same -> when it ends (ms)

local keys, args = {}, {}
local inboxes, room_sets = {}, {} -- keys, by node
local state, nodes = {}, {} -- of the room: the fields that start with "#", and members by node
local rooms = {} -- the keys of each room, of a script that works on several
local was_empty, last_left = false, nil -- of the room: whether it had no members; who left it last

local function name(values, names)
  assert(#values >= #names, 'keys or arguments are missing')
  local named = {}
  for i, value in ipairs(names) do named[value] = values[i] end
  return named
end

local function takes(key_names, arg_names) keys, args = name(KEYS, key_names), name(ARGV, arg_names) end

local function append(list, more)
  for _, value in ipairs(more) do list[#list + 1] = value end
  return list
end

-- Read the state of the room; one that is damaged is empty.
local function read_state()
  state, nodes = {}, {}
  local flat = redis.pcall('HGETALL', keys.state)
  for i = 1, #flat, 2 do
    if string.sub(flat[i], 1, 1) == '#' then state[flat[i]] = flat[i + 1] else nodes[flat[i]] = tonumber(flat[i + 1]) or 0 end
  end
end

-- Name the keys and arguments that all scripts of rooms have, then those of this one. The remaining keys are the inbox and
-- the room set of each node in the room, the calling node first. If events are reported, there is one more argument, how many
-- of them are kept at most, and the last two keys are `events` and `reports`.
local function takes_room(key_names, arg_names)
  local all = append({'nodes', 'config', 'members', 'state', 'removed', 'notices', 'bans'}, key_names)
  local named = append({'node', 'room', 'inbox_prefix', 'max_entries', 'run'}, arg_names)
  local last = #KEYS
  takes(all, named)
  if ARGV[#named + 1] then
    last, args.max_events = last - 2, tonumber(ARGV[#named + 1])
    keys.events, keys.reports = KEYS[last + 1], KEYS[last + 2]
  end
  for i = #all + 1, last, 2 do
    local node = string.sub(KEYS[i], #args.inbox_prefix + 1)
    inboxes[node], room_sets[node] = KEYS[i], KEYS[i + 1]
  end
  read_state()
  was_empty = (tonumber(state['#present:peer']) or 0) + (tonumber(state['#present:user']) or 0) == 0
end

-- Name the keys and arguments of a script that works on several rooms. The remaining keys are the members and the state of
-- each.
local function takes_rooms(key_names, arg_names)
  takes(key_names, arg_names)
  for i = #key_names + 1, #KEYS, 2 do rooms[#rooms + 1] = {members = KEYS[i], state = KEYS[i + 1]} end
end

-- Name the keys and arguments of a script that tells all nodes something. The remaining keys are the inboxes of the nodes.
local function takes_nodes(key_names, arg_names)
  takes(key_names, arg_names)
  for i = #key_names + 1, #KEYS do inboxes[string.sub(KEYS[i], #args.inbox_prefix + 1)] = KEYS[i] end
  for _, node in ipairs(redis.call('ZRANGE', keys.nodes, 0, -1)) do nodes[node] = 0 end
end

local function text(number) return string.format('%.0f', number) end

local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function is_fenced(node) -- or not registered at all
  local deadline = redis.call('ZSCORE', keys.nodes, node)
  return not deadline or tonumber(deadline) < 0
end

-- Every key that a script writes must be declared: the reply that names the nodes whose keys are missing, if any are.
local function undeclared()
  local missing = {'KEYS'}
  for node in pairs(nodes) do
    if not inboxes[node] then missing[#missing + 1] = node end
  end
  return #missing > 1 and missing or nil
end

local function refused() return is_fenced(args.node) and {'FENCED'} or undeclared() end

-- The fields of the nodes that are announcing their members again, after the server may have lost data.
local function announcing()
  local fields = {}
  for _, field in ipairs(redis.call('HKEYS', keys.config)) do
    if string.sub(field, 1, 11) == 'announcing:' then fields[#fields + 1] = field end
  end
  return fields
end

-- Until all nodes have announced their members: the reply to joins, kicks and closes.
local function recovering()
  local known = redis.call('HMGET', keys.config, 'joins-from', 'joins-until')
  if not known[1] then return nil end
  local time = now()
  if time < tonumber(known[1]) then return {'LATER', text(tonumber(known[1]) - time)} end
  return time < tonumber(known[2]) and #announcing() > 0 and {'LATER', '100'} or nil
end

local function is_locked() return tonumber(state['#lock'] or 0) > 0 end

-- Versions start from microseconds, so that they never repeat: neither after a loss of data nor in a room that was empty.
local function bump()
  local version = tonumber(state['#version'])
  if version and state['#run'] == args.run then
    version = version + 1
  else
    local time = redis.call('TIME')
    version = math.max((version or 0) + 1, time[1] * 1000000 + time[2])
  end
  redis.call('HSET', keys.state, '#version', text(version), '#run', args.run)
  return version
end

local function set_lock(locked, version) redis.call('HSET', keys.state, '#lock', text(locked and version or -version)) end

local function field_of(member)
  return member.kind == 'peer' and 'peer:' .. member.id or 'user:' .. member.id .. ' ' .. member.incarnation
end

local TYPES = {
  node = 'string', incarnation = 'string', id = 'string', verified = 'boolean', order = 'number', detached = 'boolean',
  epoch = 'number', metadata = 'string', updated = 'number', address = 'string'
}

-- The member that a field holds, or nil if it is damaged.
local function unpack_member(field, packed)
  local read, member = pcall(cmsgpack.unpack, packed)
  if not read or type(member) ~= 'table' or (member.kind ~= 'peer' and member.kind ~= 'user') then return nil end
  for attribute, kind in pairs(TYPES) do
    if type(member[attribute]) ~= kind then return nil end
  end
  return field_of(member) == field and member or nil
end

local function load(field)
  local packed = redis.pcall('HGET', keys.members, field)
  return type(packed) == 'string' and unpack_member(field, packed) or nil
end

-- All members, and the fields that are damaged.
local function load_all()
  local members, damaged = {}, {}
  local flat = redis.pcall('HGETALL', keys.members)
  for i = 1, #flat, 2 do
    local member = unpack_member(flat[i], flat[i + 1])
    if member then members[#members + 1] = member else damaged[#damaged + 1] = flat[i] end
  end
  return members, damaged
end

local function counted(field) return tonumber(state[field]) or 0 end

-- Whether the state of the room has as many members as there are. If not, somebody deleted or changed a key by hand.
local function is_sound()
  local size, sum = redis.pcall('HLEN', keys.members), 0
  for _, count in pairs(nodes) do sum = sum + count end
  local peers, users = counted('#present:peer'), counted('#present:user')
  return size == sum and size == peers + users and counted('#joins:peer') >= peers and counted('#joins:user') >= users
end

-- The peer with an id, or all connections of a user.
local function members_of(kind, id)
  local found, prefix = {}, kind .. ':' .. id
  if kind == 'peer' then
    found[1] = load(prefix) or nil
    return found
  end
  prefix = prefix .. ' '
  for _, field in ipairs(redis.call('HKEYS', keys.members)) do
    if string.sub(field, 1, #prefix) == prefix and not string.find(field, ' ', #prefix + 1, true) then
      found[#found + 1] = load(field)
    end
  end
  return found
end

-- The members that cannot be in the room with this one (MemberTable.rivals), and the other connections of the same user.
local function rivals_of(member)
  local rivals, alike = {}, {}
  for _, one in ipairs(members_of(member.kind, member.id)) do
    local list = (member.kind == 'peer' or one.verified ~= member.verified) and rivals or alike
    list[#list + 1] = one
  end
  return rivals, alike
end

local function save(member) redis.call('HSET', keys.members, field_of(member), cmsgpack.pack(member)) end

-- The member, if it is in the room at the calling node. Without a field, the application or an operator asks, who is no member.
local function load_own(field, incarnation)
  if field == '' then return {id = ''} end
  local member = load(field)
  return member and member.node == args.node and member.incarnation == incarnation and member or nil
end

-- A set of rooms that is damaged fails nothing else: an audit repairs it.
local function count_node(node, by)
  if redis.call('HINCRBY', keys.state, node, by) <= 0 then
    redis.call('HDEL', keys.state, node, '#announced:' .. node)
    redis.pcall('SREM', room_sets[node], args.room)
  else
    redis.pcall('SADD', room_sets[node], args.room)
  end
end

-- Append an event to those that are reported, if any are. When they are too many, the oldest is dropped. A key that something
-- else wrote into fails nothing else.
local function report(event, member, reason)
  if not keys.events then return end
  local count = redis.pcall('XLEN', keys.events)
  if type(count) ~= 'number' then return end
  if count >= args.max_events then
    redis.call('XDEL', keys.events, redis.call('XRANGE', keys.events, '-', '+', 'COUNT', 1)[1][1])
    redis.pcall('HINCRBY', keys.reports, 'dropped', 1)
  end
  redis.call('XADD', keys.events, '*', 'event', cmsgpack.pack({
    type = event, room = args.room, incarnation = member.incarnation, kind = member.kind, id = member.id,
    verified = member.verified, metadata = member.metadata, reason = reason
  }))
end

local function report_joined(member)
  if was_empty then report('room-opened', member) end
  was_empty = false
  report('member-joined', member)
end

-- Of several that leave at once the last is the same whenever this is repeated.
local function report_left(member, reason)
  if not last_left or member.incarnation > last_left.incarnation then last_left = member end
  report('member-left', member, reason)
end

local function report_closed()
  if last_left then report('room-closed', last_left) end
end

local function add(member)
  save(member)
  redis.call('HINCRBY', keys.state, '#present:' .. member.kind, 1)
  count_node(member.node, 1)
  report_joined(member)
end

local function remove(member, reason)
  redis.call('HDEL', keys.members, field_of(member))
  redis.call('HINCRBY', keys.state, '#present:' .. member.kind, -1)
  count_node(member.node, -1)
  report_left(member, reason)
end

local function drop_if_empty()
  if redis.call('EXISTS', keys.members) == 0 then
    redis.call('DEL', keys.state)
    report_closed()
  end
end

local function append_entry(node, ...)
  redis.call('XADD', inboxes[node], 'NOMKSTREAM', 'MAXLEN', '~', args.max_entries, '*', ...)
end

-- The changes of a room, as its nodes read them (see entries.py).
local function joined(member) return {change = 'joined', member = member} end
local function left(member, reason, notice)
  return {
    change = 'left', incarnation = member.incarnation, kind = member.kind, id = member.id, reason = reason, notice = notice
  }
end
local function updated(member, by)
  return {change = 'updated', kind = member.kind, id = member.id, metadata = member.metadata, updated = member.updated, by = by}
end
local function presence(member)
  return {change = 'presence', incarnation = member.incarnation, kind = member.kind, id = member.id, detached = member.detached}
end
local function moved(member, silent)
  return {change = 'moved', incarnation = member.incarnation, node = member.node, epoch = member.epoch, silent = silent}
end
local function owner_fenced(member) return {change = 'owner-fenced', incarnation = member.incarnation, epoch = member.epoch} end
local function recovery_ended(incarnation, epoch)
  return {change = 'recovery-ended', incarnation = incarnation, epoch = epoch}
end
local function locked(is, by) return {change = 'locked', locked = is, by = by} end
local function closed(by, notice) return {change = 'closed', by = by, notice = notice} end

-- Tell the nodes that had members in the room when the script began. The entry names the version before: a node that has
-- applied that one has missed nothing, even where a restart made versions jump.
local function publish(version, changes)
  local packed, after = cmsgpack.pack(changes), state['#version'] or '0'
  for node in pairs(nodes) do
    append_entry(node, 'type', 'changes', 'room', args.room, 'after', after, 'version', text(version), 'changes', packed)
  end
end

local function send_snapshot(node, version, token)
  local lock, members = redis.call('HGET', keys.state, '#lock') or '0', cmsgpack.pack((load_all()))
  append_entry(node, 'type', 'snapshot', 'room', args.room, 'version', text(version), 'run', args.run, 'token', token,
    'lock', lock, 'members', members)
end

local function forget_removed(...)
  local gone = redis.call(...)
  for i = 1, #gone, 2 do
    redis.call('ZREM', keys.removed, gone[i])
    redis.call('HDEL', keys.notices, gone[i + 1])
  end
end

-- Keep these from being claimed or announced for so long (ms); of no more members than an inbox may hold entries.
local function keep_out(members, how, life, notice)
  if tonumber(life) <= 0 or #members == 0 then return end
  local time = now()
  forget_removed('ZRANGEBYSCORE', keys.removed, '-inf', text(time - life), 'WITHSCORES')
  while redis.call('ZCOUNT', keys.removed, text(time), text(time)) > 0 do time = time + 1 end -- one notice at a time
  for _, member in ipairs(members) do redis.call('ZADD', keys.removed, text(time), how .. ':' .. member.incarnation) end
  if notice ~= '' then redis.call('HSET', keys.notices, text(time), notice) end
  local excess = redis.call('ZCARD', keys.removed) - args.max_entries
  if excess > 0 then forget_removed('ZRANGE', keys.removed, 0, excess - 1, 'WITHSCORES') end
  redis.call('PEXPIRE', keys.removed, life)
  redis.call('PEXPIRE', keys.notices, life)
end

-- How a moderator removed a member, and its notice: nil if none did.
local function how_removed(incarnation)
  for _, how in ipairs({'kicked', 'room-closed'}) do
    local time = redis.call('ZSCORE', keys.removed, how .. ':' .. incarnation)
    if time then return how, redis.call('HGET', keys.notices, time) or '' end
  end
end

-- The bans of the room. Those that have ended are deleted.
local function load_bans()
  local time, bans = now(), {}
  for _, packed in ipairs(redis.call('HVALS', keys.bans)) do
    local ban = cmsgpack.unpack(packed)
    if ban.ends > time then bans[#bans + 1] = ban else redis.call('HDEL', keys.bans, ban.kind .. ':' .. ban.id) end
  end
  return bans
end

local function bars(ban, member)
  for _, address in ipairs(ban.addresses) do
    if address == member.address then return true end
  end
  if member.id ~= ban.id then return false end
  if member.verified then return ban.owner end
  return member.kind == ban.kind
end

-- The ban that keeps a member out the longest: nil if it may join.
local function ban_of(member)
  local found, time, candidates = nil, now(), nil
  if member.address == '' then
    candidates = redis.call('HMGET', keys.bans, 'peer:' .. member.id, 'user:' .. member.id)
  else
    candidates = redis.call('HVALS', keys.bans)
  end
  for _, packed in ipairs(candidates) do
    local ban = packed and cmsgpack.unpack(packed)
    if ban and ban.ends > time and bars(ban, member) and (not found or ban.ends > found.ends) then found = ban end
  end
  return found
end

-- Redis keeps revocations until the last of them ends.
local function keep_revocation(field, revocation, ends)
  redis.call('HSET', keys.revocations, field, revocation)
  redis.call('ZADD', keys.revocation_ends, ends, field)
  local life = text(redis.call('ZRANGE', keys.revocation_ends, -1, -1, 'WITHSCORES')[2] - now() + 1)
  redis.call('PEXPIRE', keys.revocations, life)
  redis.call('PEXPIRE', keys.revocation_ends, life)
end

local function forget_ended_revocations()
  for _, field in ipairs(redis.call('ZRANGEBYSCORE', keys.revocation_ends, '-inf', text(now()))) do
    redis.call('HDEL', keys.revocations, field)
    redis.call('ZREM', keys.revocation_ends, field)
  end
end
