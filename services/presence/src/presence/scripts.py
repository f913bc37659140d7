"""Owns presence's scripts. `LOOK` is `chatcore.presence.look` in Redis, atomically, with its telling.

Each touches the keys of one user alone (one hash tag), or one key without a tag; `LOOK` publishes itself, so that
transitions are told in their order, whichever replica finds them. It runs in a full Redis
(R5b), as do the others, which only remove.
"""

from typing import Final

from chatcore.full_redis import ALLOW_FULL
from chatcore.presence import WATCH_MS
from chatcore.push import Kind

SEEN_MS: Final = 90 * 24 * 3600 * 1000
"""How long last seen is kept; as long as a device is remembered."""

LOOK: Final = f"""{ALLOW_FULL}
-- KEYS: devices, seen, watch
-- ARGV: user, ttl_ms, sweep until (ms), channel prefix, subscribing gateway or '', its connection or 0, field of the
-- ref, when it asked (ms)
local user, ttl = ARGV[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local last = now
if now <= tonumber(ARGV[3]) then
  local gone = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'WITHSCORES')
  if #gone > 0 then
    redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
    last = tonumber(gone[#gone]) - ttl
  end
end
local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
local online = #first > 0
local seen = redis.call('GET', KEYS[2])
local changed = online ~= (seen == 'on')
if changed then
  if online then
    seen = 'on'
    redis.call('SET', KEYS[2], seen)
  else
    seen = string.format('%.0f', last)
    redis.call('SET', KEYS[2], seen, 'PX', {SEEN_MS})
  end
end
local function frame(extra)
  return '{{"type":"presence","user":"' .. user .. '","online":' .. (online and 'true' or 'false')
    .. ',"last_seen":' .. ((online or not seen) and 'null' or seen) .. extra .. '}}'
end
local function publish(gateway, kind, connection, payload)
  redis.call('PUBLISH', ARGV[4] .. gateway, struct.pack('<BI8I4', kind, connection, #payload) .. payload)
end
local function tell(gateway)
  publish(gateway, {int(Kind.PRESENCE)}, 0, user .. '\\0' .. frame(''))
end
local asking, connection = ARGV[5], tonumber(ARGV[6])
if asking ~= '' then
  redis.call('ZADD', KEYS[3], 'GT', tonumber(ARGV[8]) + {WATCH_MS}, asking)
  redis.call('PEXPIRE', KEYS[3], {WATCH_MS})
end
if changed then
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
  for _, gateway in ipairs(redis.call('ZRANGE', KEYS[3], 0, -1)) do
    tell(gateway)
  end
end
if asking ~= '' and connection ~= 0 then
  publish(asking, {int(Kind.FRAME)}, connection, frame(ARGV[7]))
elseif asking ~= '' and not changed then
  -- What a gateway missed while its subscription was broken or Redis was wiped, nobody knows: an announcement is told
  -- how it stands, and the gateway knows whether that is news.
  tell(asking)
end
return {{changed and 1 or 0, online and 1 or 0, online and first[2] or ''}}
"""

UNWATCH: Final = f"""
-- KEYS: watch. ARGV: gateway, when it asked (ms). See `chatcore.presence.unsubscribe`.
local deadline = redis.call('ZSCORE', KEYS[1], ARGV[1])
if deadline and tonumber(deadline) < tonumber(ARGV[2]) + {WATCH_MS} then
  redis.call('ZREM', KEYS[1], ARGV[1])
end
"""

FORGET: Final = """
-- KEYS: deadlines. ARGV: when the sweep began (ms), users without a device.
-- Whoever came since another replica looked has a later deadline, and stays.
for i = 2, #ARGV do
  local deadline = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if deadline and tonumber(deadline) <= tonumber(ARGV[1]) then
    redis.call('ZREM', KEYS[1], ARGV[i])
  end
end
"""

RETIRE: Final = """
-- KEYS: stream. ARGV: group, idle for more than (ms), or a name and '-1'. Deletes names with nothing pending: in one
-- step with the look, since what is pending goes with its name.
for _, row in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local name, pending, idle = row[2], row[4], row[6]
  if pending == 0 and (name == ARGV[3] or ARGV[3] == '' and idle > tonumber(ARGV[2])) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], name)
  end
end
"""
