"""The Lua scripts about nodes: who is there, what lies in their inboxes, what holds for all.

Those about tokens are in `scripts`.
"""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple


class Script(NamedTuple):
    """What has to happen at one moment in Redis, and the hash that it is called by."""

    text: str
    sha: str

    @classmethod
    def of(cls, text: str) -> Script:
        return cls(text, hashlib.sha1(text.encode()).hexdigest())


#: KEYS[1] is the table of nodes; (node, lease, begins) → {was_alive, changed, living or dead
#: node, 1 or 0, …}. By the clock of Redis, so that nodes need not agree on the time.
BEAT: Final = Script.of("""
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local settings = KEYS[1] .. ':settings'
local changed = tonumber(redis.call('HGET', settings, '') or 0)
local is_alone = true
local found = {0, 0}
local all = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for i = 1, #all, 2 do
    local is_alive = tonumber(all[i + 1]) > now and 1 or 0
    if all[i] == ARGV[1] then
        found[1] = is_alive
    else
        is_alone = is_alone and is_alive == 0
        found[#found + 1] = all[i]
        found[#found + 1] = is_alive
    end
end
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
if ARGV[3] == '1' and is_alone and changed > 0 then
    changed = changed + 1
    redis.call('DEL', settings)
    redis.call('HSET', settings, '', changed)
end
found[2] = changed
return found
""")

#: KEYS are inboxes; (a message for each)
SEND: Final = Script.of("""
for i, inbox in ipairs(KEYS) do redis.call('XADD', inbox, '*', 'm', ARGV[i]) end
""")

#: KEYS[1] is the base of a node; (who takes out, whose inbox it is, ids…) → {id, …} of those
#: that another has taken out. Of what was taken out of another's inbox it is kept who did it.
DONE: Final = Script.of("""
local inbox, taken = KEYS[1] .. ':inbox', KEYS[1] .. ':taken'
local me, owner = ARGV[1], ARGV[2]
local missed = {}
for i = 3, #ARGV do
    local id = ARGV[i]
    if redis.call('XDEL', inbox, id) == 1 then
        if me ~= owner then
            redis.call('HSET', taken, id, me)
            redis.call('EXPIRE', taken, 3600)
        end
    elseif (redis.call('HGET', taken, id) or owner) ~= me then
        missed[#missed + 1] = id
    end
end
return missed
""")

#: KEYS[1] is the table of settings: name → "number value", '' → number of the last change.
#: (fresh, name, value, …) → number of the last change, or 0
CHANGE: Final = Script.of("""
if ARGV[1] == '1' then
    for i = 2, #ARGV, 2 do
        local old = redis.call('HGET', KEYS[1], ARGV[i])
        if old and not string.match(old, '^%d+ $') then return 0 end
    end
end
local changed = tonumber(redis.call('HGET', KEYS[1], '') or 0)
for i = 2, #ARGV, 2 do
    changed = changed + 1
    redis.call('HSET', KEYS[1], ARGV[i], changed .. ' ' .. ARGV[i + 1])
end
redis.call('HSET', KEYS[1], '', changed)
return changed
""")
