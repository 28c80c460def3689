-- What the scripts that change a room share; it stands before each of them.
--
-- KEYS: 1 nodes  2 room  3 room-nodes  4 node-rooms  5... the inboxes of all nodes with members in the room  last config
-- ARGV: 1 node  2 room id  3 prefix of inboxes  4 entries an inbox may hold  5 run id of the server  6... of the script
--
-- room        hash: field ("p" + peer id, or "u" + incarnation) -> msgpack
--             [node, incarnation, order, text, "1" if it is away or "0", moves]
-- room-nodes  hash: node -> its members here; "#v" version; "#e" run id that gave it; "#op" "#ou" joins of peers and
--             users; "#cp" "#cu" peers and users present; "#l" the version in which it was locked, or, negative, unlocked
-- out-of      sorted set of the room: incarnation + " " + how a moderator put it out -> when (ms)

local function fenced(node)
  local deadline = redis.call('ZSCORE', KEYS[1], node)
  return not deadline or tonumber(deadline) < 0
end

local function load_nodes()
  local flat, state, nodes = redis.call('HGETALL', KEYS[3]), {}, {}
  for i = 1, #flat, 2 do
    if string.sub(flat[i], 1, 1) == '#' then state[flat[i]] = flat[i + 1] else nodes[flat[i]] = tonumber(flat[i + 1]) end
  end
  return state, nodes
end

-- Every inbox that will be written must be a declared key: the reply to one that is not, before anything is written.
local function undeclared(nodes)
  local declared, missing = {}, {'KEYS'}
  for i = 5, #KEYS do declared[KEYS[i]] = true end
  for node in pairs(nodes) do
    if not declared[ARGV[3] .. node] then missing[#missing + 1] = node end
  end
  return #missing > 1 and missing or nil
end

-- After a restart the nodes announce their members again: until they have, the reply to what must wait for all of them.
local function still_announced(config)
  local known = redis.call('HMGET', config, 'joins-from', 'joins-until', 'recovering')
  if not known[1] then return nil end
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  if now < tonumber(known[1]) then return {'LATER', string.format('%.0f', tonumber(known[1]) - now)} end
  return now < tonumber(known[2]) and tonumber(known[3]) > 0 and {'LATER', '100'} or nil
end

-- Whether a member is in the room at the node that asks: one that has moved asks for itself where it is now.
local function is_here(field, incarnation)
  local present = redis.call('HGET', KEYS[2], field)
  local member = present and cmsgpack.unpack(present)
  return member and member[1] == ARGV[1] and member[2] == incarnation
end

local function is_locked(state) return tonumber(state['#l'] or 0) > 0 end

local function text(number) return string.format('%.0f', number) end

-- Microseconds as a base: versions never repeat, not after a loss of data nor when a room begins anew.
local function bump(state)
  local version = tonumber(state['#v'])
  if version and state['#e'] == ARGV[5] then
    version = version + 1
  else
    local time = redis.call('TIME')
    version = math.max((version or 0) + 1, time[1] * 1000000 + time[2])
  end
  redis.call('HSET', KEYS[3], '#v', text(version), '#e', ARGV[5])
  return version
end

local function add_entry(node, ...)
  redis.call('XADD', ARGV[3] .. node, 'NOMKSTREAM', 'MAXLEN', '~', ARGV[4], '*', ...)
end

local function set_lock(locked, version) redis.call('HSET', KEYS[3], '#l', text(locked and version or -version)) end

-- changes: {'+', node, incarnation, order, text, away, moves}, {'-', incarnation, reason, field},
-- {'~', incarnation, away, field}, {'>', incarnation, node, moves, {node...}}, {'#', "1" if it is locked now, by whom},
-- {'x', by whom}: all have left. Each entry names the version it follows: who has read that one has missed nothing,
-- also when a restart made versions jump.
local function tell(nodes, state, version, changes)
  local packed, after = cmsgpack.pack(changes), state['#v'] or '0'
  for node in pairs(nodes) do
    add_entry(node, 't', 'm', 'R', ARGV[2], 'a', after, 'v', text(version), 'o', packed)
  end
end

local function tell_all_of_it(node, version, token)
  local flat, members = redis.call('HGETALL', KEYS[2]), {}
  for i = 2, #flat, 2 do members[#members + 1] = cmsgpack.unpack(flat[i]) end
  local lock = redis.call('HGET', KEYS[3], '#l') or '0'
  local whole = cmsgpack.pack(members)
  add_entry(node, 't', 's', 'R', ARGV[2], 'v', text(version), 'e', ARGV[5], 'q', token, 'l', lock, 'o', whole)
end

local function count_node(node, by)
  if redis.call('HINCRBY', KEYS[3], node, by) <= 0 then
    redis.call('HDEL', KEYS[3], node)
    redis.call('SREM', KEYS[4], ARGV[2])
  end
end

-- The same for a node whose rooms are declared behind the inboxes, in their order; the last two keys are others.
local function leave_node(node)
  if redis.call('HINCRBY', KEYS[3], node, -1) > 0 then return end
  redis.call('HDEL', KEYS[3], node)
  local inboxes = (#KEYS - 6) / 2
  for i = 5, 4 + inboxes do
    if KEYS[i] == ARGV[3] .. node then redis.call('SREM', KEYS[i + inboxes], ARGV[2]) end
  end
end

-- Remember for so long that nobody may come back as one of these, in the last key: as many as an inbox may hold.
local function put_out(members, how, life)
  if tonumber(life) <= 0 then return end
  local time, out = redis.call('TIME'), KEYS[#KEYS]
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  redis.call('ZREMRANGEBYSCORE', out, '-inf', text(now - life))
  for _, member in pairs(members) do redis.call('ZADD', out, text(now), member[2] .. ' ' .. how) end
  redis.call('ZREMRANGEBYRANK', out, 0, -ARGV[4] - 1)
  redis.call('PEXPIRE', out, life)
end

-- How a moderator put somebody out; nil if none did.
local function how_out(out, incarnation)
  for _, how in ipairs({'kicked', 'room-closed'}) do
    if redis.call('ZSCORE', out, incarnation .. ' ' .. how) then return how end
  end
end

local function kind_of(field) return string.sub(field, 1, 1) end

local function end_if_empty()
  if redis.call('EXISTS', KEYS[2]) == 0 then redis.call('DEL', KEYS[3]) end
end

