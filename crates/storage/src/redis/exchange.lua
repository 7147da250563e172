-- GCRA for each key. ARGV: period_us, burst, used, wanted for each. Gives granted, available_in_us,
-- reset_after_us for each. Numbers are doubles: exact below 2^53, which units * period_us passes only where an
-- error of one microsecond in days is no matter.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local answer = {}
for i, key in ipairs(KEYS) do
  local at = (i - 1) * 4
  local period = tonumber(ARGV[at + 1])
  local burst = tonumber(ARGV[at + 2])
  local used = tonumber(ARGV[at + 3])
  local wanted = tonumber(ARGV[at + 4])
  local tat = math.max(tonumber(redis.call('GET', key) or '0'), now)
  if used < 0 then
    tat = math.max(tat - math.ceil(-used * period / burst), now)
  else
    tat = tat + math.ceil(used * period / burst)
  end
  local last = now + period
  local granted = 0
  if tat < last then
    granted = math.min(wanted, math.floor((last - tat) * burst / period))
  end
  tat = tat + math.ceil(granted * period / burst)
  -- Twice the period; longer only for a debt that is larger, which must not be forgotten.
  local keep = math.max(2 * period, tat - now)
  redis.call('SET', key, string.format('%.0f', tat), 'PX', string.format('%.0f', math.ceil(keep / 1000)))
  answer[#answer + 1] = granted
  answer[#answer + 1] = math.max(tat + math.ceil(period / burst) - last, 0)
  answer[#answer + 1] = tat - now
end
return answer
