-- Register a node, with an inbox, or renew what is registered.
--
-- KEYS: 1 nodes  2 inbox  3 config  4 the node's tombstone
-- ARGV: 1 node  2 lease (ms)  3 life of an inbox nobody renews (ms)  4 version of this protocol  5 buckets
--       6 "1" to begin anew, with an empty inbox, after having been declared dead
--       7 run id of the server  8 "1" if the node was attached to another run of it  9 "1" if it was attached at all
--       10 ms in which nobody joins after data may have been lost
-- Replies: {OK}: it was registered | {NEW}: it was not | {WAIT}: it is condemned and being reaped |
--          {GONE}: it was declared dead | {CONFIG, version, buckets}: this deployment runs with others

redis.call('HSETNX', KEYS[3], 'version', ARGV[4])
redis.call('HSETNX', KEYS[3], 'buckets', ARGV[5])
local config = redis.call('HMGET', KEYS[3], 'version', 'buckets')
if config[1] ~= ARGV[4] or config[2] ~= ARGV[5] then return {'CONFIG', config[1], config[2]} end

local deadline = redis.call('ZSCORE', KEYS[1], ARGV[1])
if deadline and tonumber(deadline) < 0 then return {'WAIT'} end
if ARGV[6] == '1' then
  redis.call('DEL', KEYS[2], KEYS[4])
elseif redis.call('EXISTS', KEYS[4]) == 1 then
  return {'GONE'}
end

local reply = 'OK'
if not deadline or redis.call('EXISTS', KEYS[2]) == 0 then
  redis.call('DEL', KEYS[2])
  redis.call('XADD', KEYS[2], '*', 't', 'k', 'n', '0')
  reply = 'NEW'
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[3])

-- What the server lost, the nodes announce again. Joins wait for that: a moment for all to come back, and up to a lease
-- for those that are back to be done. Where all was lost, new rooms count from far above any order there was before.
local function text(number) return string.format('%.0f', number) end
if ARGV[8] == '1' or (ARGV[9] == '1' and reply == 'NEW') then
  if redis.call('HGET', KEYS[3], 'restarted') ~= ARGV[7] then
    redis.call('HSET', KEYS[3], 'restarted', ARGV[7], 'recovering', 0)
    redis.call('HSET', KEYS[3], 'joins-from', text(now + ARGV[10]), 'joins-until', text(now + ARGV[2]))
  end
  redis.call('HINCRBY', KEYS[3], 'recovering', 1)
  if reply == 'NEW' then redis.call('HSET', KEYS[3], 'lost-until', text(now + ARGV[3])) end
end
redis.call('PEXPIRE', KEYS[3], ARGV[3])
return {reply}
