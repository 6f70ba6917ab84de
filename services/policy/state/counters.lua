-- Does a batch of operations on counters, in order, in one step of the server.
-- ARGV: now (seconds), then per operation: counter, client, ends_at, member, limit, stamp.
-- A stamp is worker/counter: which worker of ingress says it, in which of its frames.
-- Answers one number per operation.
local prefix = KEYS[1]
local WORKER_SECONDS = 10
local REMEMBER_SECONDS = 30
local SESSIONS_SECONDS = 86400
local sets = {}

local function split(stamp)
  local worker, counter = string.match(stamp, '^(.*)/(%d+)$')
  return worker, tonumber(counter)
end

-- The last whole set of a worker, from the key that lives as long as its frames come; false once the worker is dead.
local function last_set(worker)
  if sets[worker] == nil then
    local kept = redis.call('GET', prefix .. 'worker:' .. worker)
    sets[worker] = false
    if kept then
      local counter, settled = string.match(kept, '^(%d+)/(%d+)$')
      sets[worker] = {counter = tonumber(counter), settled = tonumber(settled)}
    end
  end
  return sets[worker]
end

-- Whether a session is still open, as far as its worker has said.
local function is_open(stamp)
  local worker, counter = split(stamp)
  local set = last_set(worker)
  return set and counter >= set.settled
end

-- Counts a session under the newest stamp. A client's sessions are a hash: session to stamp.
local function count_session(key, session, stamp)
  if redis.call('HSETNX', key, session, stamp) == 0 then
    local _, known = split(redis.call('HGET', key, session))
    local _, counter = split(stamp)
    if counter > known then
      redis.call('HSET', key, session, stamp)
    end
  end
  redis.call('EXPIRE', key, SESSIONS_SECONDS)
end

-- Once they are over the limit, the sessions that are not open any more are dropped.
local function open_session(client, session, limit, stamp)
  local key = prefix .. 'sessions:' .. client
  local worker, counter = split(stamp)
  local set = last_set(worker)
  if set and counter < set.settled then
    -- Its worker has given it up meanwhile.
    return redis.call('HLEN', key)
  end
  count_session(key, session, stamp)
  local count = redis.call('HLEN', key)
  if limit > 0 and count > limit then
    local held = redis.call('HGETALL', key)
    for position = 1, #held, 2 do
      if held[position] ~= session and not is_open(held[position + 1]) then
        redis.call('HDEL', key, held[position])
      end
    end
    count = redis.call('HLEN', key)
  end
  return count
end

-- `remember`: 1 where a set that lists the session may still come.
local function close_session(client, session, remember, stamp)
  local key = prefix .. 'sessions:' .. client
  local worker, counter = split(stamp)
  if remember == 1 then
    local closed = prefix .. 'closed:' .. worker
    redis.call('SADD', closed, session)
    redis.call('EXPIRE', closed, REMEMBER_SECONDS)
  end
  local known = redis.call('HGET', key, session)
  if known then
    local known_worker, known_counter = split(known)
    if known_worker == worker and known_counter <= counter then
      redis.call('HDEL', key, session)
    end
  end
  return 0
end

-- One session of a whole set, unless a newer set came, or the session closed since this one was made.
local function list_session(client, session, stamp)
  local worker, counter = split(stamp)
  local set = last_set(worker)
  if set and set.counter > counter then
    return 0
  end
  if redis.call('SISMEMBER', prefix .. 'closed:' .. worker, session) == 0 then
    count_session(prefix .. 'sessions:' .. client, session, stamp)
  end
  return 0
end

-- Ends a whole set: what opened in frames before `settled` and was not listed is open no more.
local function end_set(settled, stamp)
  local worker, counter = split(stamp)
  local set = last_set(worker)
  if not set or set.counter < counter then
    redis.call('SET', prefix .. 'worker:' .. worker, counter .. '/' .. settled, 'EX', WORKER_SECONDS)
    sets[worker] = {counter = counter, settled = settled}
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

local answers = {}
for position = 2, #ARGV, 6 do
  local counter, client, ends_at = ARGV[position], ARGV[position + 1], tonumber(ARGV[position + 2])
  local member, limit, stamp = ARGV[position + 3], tonumber(ARGV[position + 4]), ARGV[position + 5]
  local answer
  if counter == 'blocked' then
    answer = is_blocked(client)
  elseif counter == 'connections' then
    answer = open_session(client, member, limit, stamp)
  elseif counter == 'close' then
    answer = close_session(client, member, limit, stamp)
  elseif counter == 'list' then
    answer = list_session(client, member, stamp)
  elseif counter == 'end_set' then
    answer = end_set(limit, stamp)
  elseif counter == 'unknown_recipients_today' then
    answer = name_recipient(client, ends_at, member, limit)
  else
    answer = count_in_minute(counter, client, ends_at, limit)
  end
  answers[#answers + 1] = answer
end
return answers
