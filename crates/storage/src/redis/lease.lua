-- Leases of budgets. KEYS: the sorted set of members, then a hash for each budget. ARGV: the
-- replica, the time after which a lease is lost (us), how long a hash is kept (ms); then for each
-- budget limit, settled, wanted, seed, each as whole roubles and nanos, and whether there is a seed.
-- Amounts are pairs (whole, nanos) with 0 <= nanos < 10^9, since a double cannot hold nine million
-- roubles in nanos. Gives granted, own lease, spent, leased as pairs, and whether a seed is needed.
local G = 1000000000
local ZERO = {0, 0}

local function norm(whole, nanos)
  if nanos >= G then return {whole + 1, nanos - G} end
  if nanos < 0 then return {whole - 1, nanos + G} end
  return {whole, nanos}
end
local function add(a, b) return norm(a[1] + b[1], a[2] + b[2]) end
local function sub(a, b) return norm(a[1] - b[1], a[2] - b[2]) end
local function less(a, b) return a[1] < b[1] or (a[1] == b[1] and a[2] < b[2]) end
local function max(a, b) if less(a, b) then return b end return a end
local function min(a, b) if less(a, b) then return a end return b end
local function read(text)
  local whole, nanos = string.match(text, '^(-?%d+):(%d+)$')
  return {tonumber(whole), tonumber(nanos)}
end
local function write(a) return string.format('%.0f:%.0f', a[1], a[2]) end

local replica = ARGV[1]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local lost = now - tonumber(ARGV[2])
redis.call('ZADD', KEYS[1], string.format('%.0f', now), replica)

local answer = {}
local function say(a)
  answer[#answer + 1] = a[1]
  answer[#answer + 1] = a[2]
end

for i = 2, #KEYS do
  local key = KEYS[i]
  local at = 3 + (i - 2) * 9
  local function amount(n) return {tonumber(ARGV[at + n]), tonumber(ARGV[at + n + 1])} end
  local limit, settled, wanted, seed = amount(1), amount(3), amount(5), amount(7)
  local spent = redis.call('HGET', key, 'spent')
  if not spent and ARGV[at + 9] == '0' then
    say(ZERO) say(ZERO) say(ZERO) say(ZERO)
    answer[#answer + 1] = 1
  else
    if spent then spent = read(spent) else spent = seed end
    local own, others = ZERO, ZERO
    local fields = redis.call('HGETALL', key)
    for f = 1, #fields, 2 do
      local id = string.match(fields[f], '^l:(.*)$')
      if id == replica then
        own = read(fields[f + 1])
      elseif id then
        local heard = redis.call('ZSCORE', KEYS[1], id)
        if heard and tonumber(heard) > lost then
          others = add(others, read(fields[f + 1]))
        else
          redis.call('HDEL', key, fields[f])
        end
      end
    end
    spent = add(spent, settled)
    own = max(sub(own, max(settled, ZERO)), ZERO)
    local free = max(sub(sub(sub(limit, spent), others), own), ZERO)
    local granted = max(min(wanted, free), sub(ZERO, own))
    own = add(own, granted)
    redis.call('HSET', key, 'spent', write(spent))
    if less(ZERO, own) then
      redis.call('HSET', key, 'l:' .. replica, write(own))
    else
      redis.call('HDEL', key, 'l:' .. replica)
    end
    redis.call('PEXPIRE', key, ARGV[3])
    say(granted) say(own) say(spent) say(add(others, own))
    answer[#answer + 1] = 0
  end
end
return answer
