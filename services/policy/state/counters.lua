-- Does a batch of operations on counters, in order, in one step of the server.
-- ARGV: now (seconds), the calling process, then per operation: counter, client, ends_at, member, limit, owner.
-- An owner is process/stream.
-- Answers 1 when the process's heartbeat is known, else 0; then one number per operation.
local prefix = KEYS[1]
local alive = {}

local function is_alive(process)
  if alive[process] == nil then
    alive[process] = redis.call('EXISTS', prefix .. 'process:' .. process) == 1
  end
  return alive[process]
end

-- Sessions of a client: session to owner. Once they are over the limit, those of dead processes are dropped.
local function open_session(client, session, limit, owner)
  local key = prefix .. 'sessions:' .. client
  redis.call('HSET', key, session, owner)
  redis.call('EXPIRE', key, 86400)
  local count = redis.call('HLEN', key)
  if limit > 0 and count > limit then
    local held = redis.call('HGETALL', key)
    for position = 1, #held, 2 do
      if held[position] ~= session and not is_alive(string.match(held[position + 1], '^[^/]*')) then
        redis.call('HDEL', key, held[position])
      end
    end
    count = redis.call('HLEN', key)
  end
  return count
end

-- Only by who holds it: another stream may have taken it over.
local function close_session(client, session, owner)
  local key = prefix .. 'sessions:' .. client
  if redis.call('HGET', key, session) == owner then
    return redis.call('HDEL', key, session)
  end
  return 0
end

local function is_blocked(client)
  return redis.call('EXISTS', prefix .. 'blocked:' .. client)
end

local function name_recipient(client, ends_at, member, limit)
  local key = prefix .. 'unknown:' .. ends_at .. ':' .. client
  local count = redis.call('SCARD', key)
  if count < limit then
    redis.call('SADD', key, member)
    redis.call('EXPIREAT', key, ends_at + 60)
    count = redis.call('SCARD', key)
  end
  if count >= limit and is_blocked(client) == 0 then
    local blocked = prefix .. 'blocked:' .. client
    redis.call('HSET', blocked, 'reason', 'unknown_recipients', 'count', count, 'blocked_at', ARGV[1], 'ends_at', ends_at)
    redis.call('EXPIREAT', blocked, ends_at)
    redis.call('ZADD', prefix .. 'blocked', 0, client)
  end
  return count
end

-- A limit below 0 only reads.
local function count_in_minute(counter, client, ends_at, limit)
  local key = prefix .. counter .. ':' .. ends_at .. ':' .. client
  if limit < 0 then
    return tonumber(redis.call('GET', key) or 0)
  end
  local count = redis.call('INCR', key)
  if count == 1 then
    redis.call('EXPIREAT', key, ends_at + 60)
  end
  return count
end

local answers = {is_alive(ARGV[2]) and 1 or 0}
for position = 3, #ARGV, 6 do
  local counter, client, ends_at = ARGV[position], ARGV[position + 1], tonumber(ARGV[position + 2])
  local member, limit, owner = ARGV[position + 3], tonumber(ARGV[position + 4]), ARGV[position + 5]
  local answer
  if counter == 'blocked' then
    answer = is_blocked(client)
  elseif counter == 'connections' then
    answer = open_session(client, member, limit, owner)
  elseif counter == 'resume' then
    answer = open_session(client, member, 0, owner)
  elseif counter == 'close' then
    answer = close_session(client, member, owner)
  elseif counter == 'unknown_recipients_today' then
    answer = name_recipient(client, ends_at, member, limit)
  else
    answer = count_in_minute(counter, client, ends_at, limit)
  end
  answers[#answers + 1] = answer
end
return answers
