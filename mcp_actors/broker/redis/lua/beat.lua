-- Renew a node's lease, put a probe into its inbox, and cut what it has read long ago.
--
-- KEYS: 1 nodes  2 inbox  3 config
-- ARGV: 1 node  2 lease (ms)  3 life of an inbox nobody renews (ms)  4 number of the probe  5 id before which to cut, or ""
-- Replies: {OK, nodes whose lease has run out, entries of the inbox} | {FENCED}

local deadline = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not deadline or tonumber(deadline) < 0 or redis.call('EXISTS', KEYS[2]) == 0 then return {'FENCED'} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
redis.call('PEXPIRE', KEYS[3], ARGV[3])
redis.call('XADD', KEYS[2], '*', 't', 'k', 'n', ARGV[4])
if ARGV[5] ~= '' then redis.call('XTRIM', KEYS[2], 'MINID', '~', ARGV[5]) end
return {'OK', redis.call('ZCOUNT', KEYS[1], '-inf', now), redis.call('XLEN', KEYS[2])}
