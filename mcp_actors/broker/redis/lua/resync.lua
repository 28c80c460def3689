-- Make what Redis knows of a node's members in a room what the node knows, and tell the node all of the room.
--
-- KEYS, ARGV 1-5: as in common.lua, last who was put out
-- ARGV: 6 token, which the snapshot will carry  7 the lock as the node knows it, as "#l", then for each member of it eight:
--       field, incarnation, kind, order, text, "1" if away or "0", moves,
--       "in" (it is to be in the room) or "if" (it may be: a request decides)
-- Of two nodes that both have a member, the one it moved to last has it.
-- Of two locks that of the later version counts, as long as the node has members in the room.
-- Replies: {OK, incarnation...}: those whose place another has taken, or, with " " and how, whom a moderator put out | {FENCED} | {KEYS, node...}

if fenced(ARGV[1]) then return {'FENCED'} end
local state, nodes = load_nodes()
local missing = undeclared(nodes)
if missing then return missing end

local known, orders, flat = {}, {p = {}, u = {}}, redis.call('HGETALL', KEYS[2])
for i = 1, #flat, 2 do
  local member = cmsgpack.unpack(flat[i + 1])
  known[flat[i]] = member
  orders[kind_of(flat[i])][member[3]] = true
end

local changes, kept, moved, reply = {}, {}, {}, {'OK'}
for i = 8, #ARGV, 8 do
  local field, incarnation, kind, order = ARGV[i], ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3])
  local member, moves = known[field], tonumber(ARGV[i + 6])
  if member and member[2] == incarnation then
    if member[1] == ARGV[1] then
      kept[field] = true
    elseif member[6] < moves then
      kept[field] = true
      moved[member[1]] = (moved[member[1]] or 0) + 1
      changes[#changes + 1] = {'>', incarnation, ARGV[1], moves, {}}
      member[1], member[6] = ARGV[1], moves
      redis.call('HSET', KEYS[2], field, cmsgpack.pack(member))
    end
  elseif ARGV[i + 7] == 'in' then
    local how = how_out(KEYS[#KEYS], incarnation)
    if how or member or orders[kind][order] then
      reply[#reply + 1] = how and incarnation .. ' ' .. how or incarnation
    else
      kept[field] = true
      orders[kind][order] = true
      redis.call('HSET', KEYS[2], field, cmsgpack.pack({ARGV[1], incarnation, order, ARGV[i + 4], ARGV[i + 5], moves}))
      redis.call('HINCRBY', KEYS[3], '#c' .. kind, 1)
      if order > tonumber(redis.call('HGET', KEYS[3], '#o' .. kind) or 0) then
        redis.call('HSET', KEYS[3], '#o' .. kind, order)
      end
      changes[#changes + 1] = {'+', ARGV[1], incarnation, order, ARGV[i + 4], ARGV[i + 5], moves}
    end
  end
end
for field, member in pairs(known) do
  if member[1] == ARGV[1] and not kept[field] then
    redis.call('HDEL', KEYS[2], field)
    redis.call('HINCRBY', KEYS[3], '#c' .. kind_of(field), -1)
    changes[#changes + 1] = {'-', member[2], 'disconnected', field}
  end
end

for node, by in pairs(moved) do -- in the set of its rooms this one may stay, which does no harm
  if redis.call('HINCRBY', KEYS[3], node, -by) <= 0 then redis.call('HDEL', KEYS[3], node) end
end
local count = 0
for _ in pairs(kept) do count = count + 1 end
if count > 0 then
  redis.call('HSET', KEYS[3], ARGV[1], count)
  redis.call('SADD', KEYS[4], ARGV[2])
else
  redis.call('HDEL', KEYS[3], ARGV[1])
  redis.call('SREM', KEYS[4], ARGV[2])
end
local version, lock = tonumber(state['#v'] or 0), tonumber(ARGV[7])
local relock = count > 0 and math.abs(lock) > math.abs(tonumber(state['#l'] or 0)) and (lock > 0) ~= is_locked(state)
if relock then changes[#changes + 1] = {'#', lock > 0 and '1' or '0', ''} end
if #changes > 0 or state['#e'] ~= ARGV[5] then
  version = bump(state)
  if relock then set_lock(lock > 0, version) end
  nodes[ARGV[1]] = nil
  tell(nodes, state, version, changes)
end
tell_all_of_it(ARGV[1], version, ARGV[6])
end_if_empty()
return reply
