-- Add a member to a room. A node that is new to the room gets a snapshot, or one that asks for it with snapshot = "1".
-- Repeating the call changes nothing.
--
-- The verified owner of an id replaces anybody else that has it, a session whose id begins with ~ replaces itself, and nobody
-- else replaces anybody (Member.yields_to). That holds for users, too, whose connections have one id.
-- A further connection of a user has the metadata of the others.
-- moderator: "1" if the member may enter a locked room, and although it is banned.
-- Replies: {OK, version} | {DUP}: it is in the room | {TAKEN, version} | {FULL, version} | {LOCKED, version} |
--          {BANNED, version, ms until the ban ends, notice} | {FENCED} | {LATER, ms}: nodes are still announcing their
--          members | {DAMAGED}: a resync has to repair the room first | {KEYS, node...}

takes_room({}, {'member', 'capacity', 'snapshot', 'moderator'})

-- How many have joined, as far as members may know: after a loss of data, more than the room has counted.
local function last_order(kind)
  local last = counted('#joins:' .. kind)
  local lost = redis.call('HMGET', keys.config, 'lost-until', 'orders-above')
  return lost[1] and now() < tonumber(lost[1]) and math.max(last, tonumber(lost[2])) or last
end

local function session_of(one) return string.match(one.incarnation, '^[^.]*') end

local function replaces(member, rivals)
  local session = session_of(member)
  for _, rival in ipairs(rivals) do
    if string.sub(session, 1, 1) ~= '~' or session_of(rival) ~= session then return false end
  end
  return true
end

local refusal = recovering() or refused()
if refusal then return refusal end
if not is_sound() then return {'DAMAGED'} end
local member = cmsgpack.unpack(args.member)
local present = load(field_of(member))
if present and present.incarnation == member.incarnation then return {'DUP'} end
local ban = args.moderator ~= '1' and ban_of(member)
if ban then return {'BANNED', state['#version'] or '0', text(ban.ends - now()), ban.notice} end
if is_locked() and args.moderator ~= '1' then return {'LOCKED', state['#version']} end
local rivals, alike = rivals_of(member)
if not member.verified and not replaces(member, rivals) then return {'TAKEN', state['#version']} end
if #rivals == 0 and tonumber(state['#present:' .. member.kind] or 0) >= tonumber(args.capacity) then
  return {'FULL', state['#version']}
end

local version, changes = bump(), {}
for _, rival in ipairs(rivals) do
  changes[#changes + 1] = left(rival, 'replaced')
  remove(rival, 'replaced')
end
member.order = last_order(member.kind) + 1
redis.call('HSET', keys.state, '#joins:' .. member.kind, text(member.order))
if alike[1] then member.metadata, member.updated = alike[1].metadata, alike[1].updated end
add(member)
changes[#changes + 1] = joined(member)
publish(version, changes)
if not nodes[args.node] or args.snapshot == '1' then send_snapshot(args.node, version, '') end
return {'OK', text(version)}
