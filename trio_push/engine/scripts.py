"""What has to happen at one moment in Redis: its Lua scripts, one partition at a time.

KEYS[1] is the base of a partition. Its keys are made from it by the prelude:

    :own          hash  token → node that its device is connected to
    :left:PERIOD  hash  token → node that its device was connected to last, and left in it
    :behind:NODE  hash  token → what that node remembered of it when it ended; "" is all others
    :rows:TOKEN   hash  place → row; of pushes in one slot the newest is in place
    :time         zset  "token place" by the time when the row is to be looked at
    :ids          zset  "id NUL token place", to find rows by the id of the push
    :gone         hash  token → since when it is unregistered
    :user         hash  token → user          :devices:USER  zset  token by time of coming
    :taken:NODE   set   rows that others took over from a node that could not be asked for them
    :id:ID        string  "node fingerprint answer" of a request; "-" for the node that answered
    :answers      list  "bytes id" of those answered, the oldest first; :answers:bytes their sum

A row is a line "uid state expires number id" and, after the line break, the push in msgpack.
"""

from __future__ import annotations

from typing import Final

from trio_push.engine.node_scripts import Script

_PRELUDE: Final = """
local base = KEYS[1]
local own, time, ids = base .. ':own', base .. ':time', base .. ':ids'
local DELAYED = '0'

local function rows_of(token) return base .. ':rows:' .. token end

local function read(row)
    return string.match(row, '^(%S+) (%d+) (%S+) (%S+) ([^\\n]*)\\n')
end

local function drop(token, place, id)
    local member = token .. ' ' .. place
    redis.call('HDEL', rows_of(token), place)
    redis.call('ZREM', time, member)
    redis.call('ZREM', ids, id .. '\\0' .. member)
end

local function put(token, place, row, old, at)
    local member = token .. ' ' .. place
    local _, _, _, _, id = read(row)
    if old then
        local _, _, _, _, old_id = read(old)
        if old_id ~= id then redis.call('ZREM', ids, old_id .. '\\0' .. member) end
    end
    redis.call('HSET', rows_of(token), place, row)
    redis.call('ZADD', time, at, member)
    redis.call('ZADD', ids, 0, id .. '\\0' .. member)
end

local next_arg = 0
local function arg()
    next_arg = next_arg + 1
    return ARGV[next_arg]
end

local me = arg()
local now = tonumber(arg())
local void = {}
for _ = 1, tonumber(arg()) do void[arg()] = true end

local function other(owner)
    return owner and owner ~= me and not void[owner] and owner or false
end

-- the living node, other than this one, that owns the token
local function other_owner(token)
    return other(redis.call('HGET', own, token))
end

-- a node that cannot be asked may still have a row in its memory: it is to learn who has it
local function take_from(node, uid)
    local taken = base .. ':taken:' .. node
    redis.call('SADD', taken, uid)
    redis.call('EXPIRE', taken, 3600)
end

local function take_from_void(token, uid, state)
    if state == DELAYED then return end
    local owner = redis.call('HGET', own, token)
    if owner and owner ~= me and void[owner] then take_from(owner, uid) end
end

local function living_owner(token)
    local owner = redis.call('HGET', own, token)
    return owner and not void[owner] and owner or false
end
"""

_LEFT: Final = """
local left_s = tonumber(arg())
local period = math.floor(now / left_s)
local function left(n) return base .. ':left:' .. string.format('%d', n) end
"""


def _script(body: str) -> Script:
    return Script.of(_PRELUDE + body)


#: (length of a period, renew, and for each token: token, node that was asked for it in vain or '')
#: → for each {older, refused, {row, row, …}, who had it last}
CLAIM: Final = _script(
    _LEFT
    + """
local renew = arg() == '1'
local found = {}

local function last_of(token, owner)
    local last = owner
        or redis.call('HGET', left(period), token)
        or redis.call('HGET', left(period - 1), token)
    return last and last ~= me and last or ''
end

while next_arg < #ARGV do
    local token, silent = arg(), arg()
    local owner = redis.call('HGET', own, token)
    local older = other(owner)
    if older and renew then
        found[#found + 1] = {older, 1, {}, ''}
    else
        local rows, all = {}, redis.call('HGETALL', rows_of(token))
        for i = 1, #all, 2 do
            local uid, state, expires = read(all[i + 1])
            if state ~= DELAYED then
                take_from_void(token, uid, state)
                if silent ~= '' then take_from(silent, uid) end
                redis.call('SREM', base .. ':taken:' .. me, uid)
                rows[#rows + 1] = all[i + 1]
                local at = tonumber(expires) > 0 and expires or now + 60
                redis.call('ZADD', time, at, token .. ' ' .. all[i])
            end
        end
        local last = last_of(token, owner)
        redis.call('HSET', own, token, me)
        found[#found + 1] = {older or '', 0, rows, last}
    end
end
return found
"""
)

#: (length of a period, tokens…)
LET_GO: Final = _script(
    _LEFT
    + """
while next_arg < #ARGV do
    local token = arg()
    if redis.call('HGET', own, token) == me then
        redis.call('HDEL', own, token)
        redis.call('HSET', left(period), token, me)
    end
end
redis.call('EXPIRE', left(period), 2 * left_s)
return 0
"""
)

#: (per_token, force, and for each row: token, place, row, time) → for each the owner, or what
#: became of it: "1" held, "2" held in place of an older one, "3" full, "4" not to be stored
STORE: Final = _script("""
local per_token, force = tonumber(arg()), arg() == '1'
local found = {}
while next_arg < #ARGV do
    local token, place, row, at = arg(), arg(), arg(), arg()
    local owner = not force and living_owner(token)
    if owner then
        found[#found + 1] = owner
    elseif at == '' then
        found[#found + 1] = '4'
    else
        local old = redis.call('HGET', rows_of(token), place)
        if not old and redis.call('HLEN', rows_of(token)) >= per_token then
            found[#found + 1] = '3'
        else
            local is_other = old and read(old) ~= read(row)
            if is_other then take_from_void(token, read(old)) end
            put(token, place, row, old, at)
            found[#found + 1] = is_other and '2' or '1'
        end
    end
end
return found
""")

#: (n, and for each of n drops: token, place, uid; then for each row: token, place, row, time)
#: → {replaced, {uid, …} of those taken over, and for each row of a token that another node
#: owns: token, owner}
WRITE: Final = _script("""
local replaced, lost, taken = 0, {}, base .. ':taken:' .. me
local is_any_taken = redis.call('EXISTS', taken) == 1
local function check(uid)
    if is_any_taken and redis.call('SISMEMBER', taken, uid) == 1 then lost[#lost + 1] = uid end
end
for _ = 1, tonumber(arg()) do
    local token, place, uid = arg(), arg(), arg()
    check(uid)
    local row = redis.call('HGET', rows_of(token), place)
    if row then
        local found, state, _, _, id = read(row)
        if found == uid then
            drop(token, place, id)
        elseif uid == '*' and state == DELAYED then
            drop(token, place, id)
            replaced = replaced + 1
        end
    end
end
local moved = {replaced, lost}
while next_arg < #ARGV do
    local token, place, row, at = arg(), arg(), arg(), arg()
    local old = redis.call('HGET', rows_of(token), place)
    if old then
        local _, state = read(old)
        if state == DELAYED then replaced = replaced + 1 end
    end
    check((read(row)))
    put(token, place, row, old, at)
    local owner = other_owner(token)
    if owner then
        moved[#moved + 1] = token
        moved[#moved + 1] = owner
    end
end
moved[1] = replaced
return moved
""")

#: (limit, note again after) → {expired, discarded, more, token, owner, token, owner, …}
SWEEP: Final = _script("""
local limit, again = tonumber(arg()), tonumber(arg())
local expired, discarded, found = 0, 0, {0, 0, 0}
local members = redis.call('ZRANGE', time, '-inf', now, 'BYSCORE', 'LIMIT', 0, limit)
for _, member in ipairs(members) do
    local token, place = string.match(member, '^(%S+) (.*)$')
    local row = redis.call('HGET', rows_of(token), place)
    if not row then
        redis.call('ZREM', time, member)
    else
        local uid, state, expires, number, id = read(row)
        local owner, at = living_owner(token), tonumber(expires)
        if at > 0 and at <= now then
            take_from_void(token, uid, state)
            drop(token, place, id)
            if state == DELAYED or not owner then expired = expired + 1 end
        elseif owner then
            -- The row says that it is due, and its owner is told until it has taken it.
            if state == DELAYED then
                local rest = string.sub(row, #uid + 1 + #state + 1)
                redis.call('HSET', rows_of(token), place, uid .. ' 2' .. rest)
            end
            redis.call('ZADD', time, now + again, member)
            found[#found + 1] = token
            found[#found + 1] = owner
        elseif at == 0 then
            take_from_void(token, uid, state)
            drop(token, place, id)
            discarded = discarded + 1
        else
            if state == DELAYED then
                local rest = string.sub(row, #uid + 1 + #state + 1)
                redis.call('HSET', rows_of(token), place, uid .. ' 2' .. rest)
            end
            redis.call('ZADD', time, expires, member)
        end
    end
end
found[1], found[2] = expired, discarded
found[3] = #members == limit and 1 or 0
return found
""")

#: (id, token or '') → {count, owner, owner, …}
TAKE: Final = _script("""
local id, only = arg(), arg()
local count, found = 0, {0}
local members = redis.call('ZRANGE', ids, '[' .. id .. '\\0', '[' .. id .. '\\0\\255', 'BYLEX')
for _, member in ipairs(members) do
    local token, place = string.match(string.sub(member, #id + 2), '^(%S+) (.*)$')
    if only == '' or only == token then
        local owner = living_owner(token)
        local uid, state = read(redis.call('HGET', rows_of(token), place))
        if state ~= DELAYED and owner then
            found[#found + 1] = owner
        else
            take_from_void(token, uid, state)
            drop(token, place, id)
            count = count + 1
        end
    end
end
found[1] = count
return found
""")

#: (token, at) → {count, owner}
UNREGISTER: Final = _script("""
local token, at = arg(), arg()
redis.call('HSETNX', base .. ':gone', token, at)
local owner, count = living_owner(token), 0
local all = redis.call('HGETALL', rows_of(token))
for i = 1, #all, 2 do
    local uid, state, _, _, id = read(all[i + 1])
    if state == DELAYED or not owner then count = count + 1 end
    take_from_void(token, uid, state)
    drop(token, all[i], id)
end
return owner and {count, owner} or {count}
""")

#: (hold in ms, (id, fingerprint)…) → for each what another node has of it, or false
TAKE_IDS: Final = _script("""
local hold = arg()
local found = {}
while next_arg < #ARGV do
    local key, value = base .. ':id:' .. arg(), me .. ' ' .. arg() .. ' '
    local old = redis.call('GET', key)
    local holder = old and string.match(old, '^(%S+)')
    if not old or holder == me or void[holder] then
        redis.call('SET', key, value, 'PX', hold)
        old = false
    end
    found[#found + 1] = old
end
return found
""")

#: (time to keep them in ms, bytes to keep at most, (id, answer or '')…)
ANSWER_IDS: Final = _script("""
local keep, most = arg(), tonumber(arg())
local order, total = base .. ':answers', base .. ':answers:bytes'
while next_arg < #ARGV do
    local id, value = arg(), arg()
    if value == '' then
        redis.call('DEL', base .. ':id:' .. id)
    else
        redis.call('SET', base .. ':id:' .. id, value, 'PX', keep)
        local count = redis.call('RPUSH', order, #value .. ' ' .. id)
        local size = redis.call('INCRBY', total, #value)
        while size > most and count > 1 do
            local bytes, oldest = string.match(redis.call('LPOP', order), '^(%d+) (.*)$')
            redis.call('DEL', base .. ':id:' .. oldest)
            count, size = count - 1, redis.call('DECRBY', total, bytes)
        end
        redis.call('PEXPIRE', order, keep)
        redis.call('PEXPIRE', total, keep)
    end
end
""")
