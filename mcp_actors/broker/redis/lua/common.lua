-- What the scripts that change a room share; it stands before each of them.
--
-- KEYS: 1 nodes  2 room  3 room-nodes  4 node-rooms  5... the inboxes of all nodes with members in the room  last config
-- ARGV: 1 node  2 room id  3 prefix of inboxes  4 entries an inbox may hold  5 run id of the server  6... of the script
--
-- room        hash: field ("p" + peer id, or "u" + incarnation) -> msgpack
--             [node, incarnation, order, text, "1" if it is away or "0", moves]
-- room-nodes  hash: node -> its members here; "#v" version; "#e" run id that gave it; "#op" "#ou" joins of peers and
--             users; "#cp" "#cu" peers and users present

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

-- changes: {'+', node, incarnation, order, text, away, moves}, {'-', incarnation, reason, field},
-- {'~', incarnation, away, field}, {'>', incarnation, node, moves, {node...}}. Each entry names the version it follows:
-- who has read that one has missed nothing, also when a restart made versions jump.
local function tell(nodes, state, version, changes)
  local packed, after = cmsgpack.pack(changes), state['#v'] or '0'
  for node in pairs(nodes) do
    add_entry(node, 't', 'm', 'R', ARGV[2], 'a', after, 'v', text(version), 'o', packed)
  end
end

local function tell_all_of_it(node, version, token)
  local flat, members = redis.call('HGETALL', KEYS[2]), {}
  for i = 2, #flat, 2 do members[#members + 1] = cmsgpack.unpack(flat[i]) end
  add_entry(node, 't', 's', 'R', ARGV[2], 'v', text(version), 'e', ARGV[5], 'q', token, 'o', cmsgpack.pack(members))
end

local function count_node(node, by)
  if redis.call('HINCRBY', KEYS[3], node, by) <= 0 then
    redis.call('HDEL', KEYS[3], node)
    redis.call('SREM', KEYS[4], ARGV[2])
  end
end

local function kind_of(field) return string.sub(field, 1, 1) end

local function end_if_empty()
  if redis.call('EXISTS', KEYS[2]) == 0 then redis.call('DEL', KEYS[3]) end
end

