"""Owns the script that looks at one user: `chatcore.presence.look`, atomically, in Redis, with its telling.

It touches the keys of one user alone (one hash tag), and publishes itself: so transitions are told in their order,
whichever replica finds them.
"""

from typing import Final

from chatcore.push import Kind

SEEN_MS: Final = 90 * 24 * 3600 * 1000
"""How long last seen is kept; as long as a device is remembered."""
WATCH_MS: Final = 180_000
"""How long a gateway's subscription holds; gateways repeat it every 60 s."""

LOOK: Final = f"""
-- KEYS: devices, seen, watch
-- ARGV: user, ttl_ms, sweep (1 or 0), channel prefix, subscribing gateway or '', its connection or 0, field of the ref
local user, ttl = ARGV[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local last = now
if ARGV[3] == '1' then
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
if ARGV[5] ~= '' then
  redis.call('ZADD', KEYS[3], now + {WATCH_MS}, ARGV[5])
  redis.call('PEXPIRE', KEYS[3], {WATCH_MS})
end
if changed then
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
  for _, gateway in ipairs(redis.call('ZRANGE', KEYS[3], 0, -1)) do
    publish(gateway, {int(Kind.PRESENCE)}, 0, user .. '\\0' .. frame(''))
  end
end
if ARGV[5] ~= '' and ARGV[6] ~= '0' then
  publish(ARGV[5], {int(Kind.FRAME)}, tonumber(ARGV[6]), frame(ARGV[7]))
end
return {{changed and 1 or 0, online and 1 or 0, online and first[2] or ''}}
"""
