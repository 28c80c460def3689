-- Register a node and create its inbox, or renew its registration.
--
-- new: "1" to start again after being fenced: the inbox is read from here on, and what is in it stays for the nodes to which members
-- moved meanwhile. data: the data to which the node was attached before, or
-- ""; other_run: "1" if that was at another run of the server. hold_ms: how long nobody joins after data may have been lost.
-- Replies: {OK, data}: it was registered | {NEW, data, id}: it was not, and reads its inbox from there on | {WAIT}: it is fenced and being reaped |
--          {GONE}: it was reaped | {CONFIG, version, buckets}: the deployment runs with these

takes({'nodes', 'inbox', 'config', 'tombstone'},
  {'node', 'lease_ms', 'inbox_ms', 'version', 'buckets', 'new', 'run', 'other_run', 'data', 'hold_ms'})

local micros = redis.call('TIME')
redis.call('HSETNX', keys.config, 'version', args.version)
redis.call('HSETNX', keys.config, 'buckets', args.buckets)
redis.call('HSETNX', keys.config, 'data', micros[1] .. '.' .. micros[2] .. '@' .. args.run)
local config = redis.call('HMGET', keys.config, 'version', 'buckets', 'data', 'lost-in')
if config[1] ~= args.version or config[2] ~= args.buckets then return {'CONFIG', config[1], config[2]} end
local data, lost_in = config[3], config[4]

local deadline = redis.call('ZSCORE', keys.nodes, args.node)
if deadline and tonumber(deadline) < 0 then return {'WAIT'} end
if args.new == '1' then
  redis.call('DEL', keys.tombstone)
  redis.call('HDEL', keys.config, 'announcing:' .. args.node)
elseif redis.call('EXISTS', keys.tombstone) == 1 then
  return {'GONE'}
end

local reply, time, start = 'OK', now(), nil
if args.new == '1' or not deadline or redis.call('EXISTS', keys.inbox) == 0 then
  if args.new ~= '1' then redis.call('DEL', keys.inbox) end
  local first = redis.call('XADD', keys.inbox, '*', 'type', 'probe', 'number', '0')
  reply, start = 'NEW', args.new == '1' and first or '0-0'
end
redis.call('ZADD', keys.nodes, time + args.lease_ms, args.node)
redis.call('PEXPIRE', keys.inbox, args.inbox_ms)

-- The nodes announce again what the server may have lost. Joins wait for hold_ms, so that all nodes come back, and up to a
-- lease for those that are back to finish. Newcomers get orders above any that existed before: a node that is late may have
-- members that no other node knows. A node that was fenced has lost its members and announces nothing.
local announces = args.new ~= '1'
if args.other_run == '1' or (announces and args.data ~= '' and args.data ~= data) then
  if lost_in ~= args.run then
    for _, field in ipairs(announcing()) do redis.call('HDEL', keys.config, field) end
    redis.call('HSET', keys.config, 'lost-in', args.run, 'joins-from', text(time + args.hold_ms),
      'joins-until', text(time + args.lease_ms), 'orders-above', text(time), 'lost-until', text(time + args.inbox_ms))
  end
  if announces then redis.call('HSET', keys.config, 'announcing:' .. args.node, '1') end
end
redis.call('PEXPIRE', keys.config, args.inbox_ms)
return {reply, data, start}
