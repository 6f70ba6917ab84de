-- Executes a batch of operations on counters, in order and as one step of the server.
-- ARGV has the time in seconds, and then for each operation: counter, client, ends_at, member, limit, stamp.
-- A stamp is worker/counter: the worker of ingress from which the operation comes, and the number of its frame.
-- Returns one number for each operation.
local prefix = KEYS[1]
local WORKER_SECONDS = 10
local REMEMBER_SECONDS = 30
local SESSIONS_SECONDS = 86400
local sets = {}

local function split(stamp)
  local worker, counter = string.match(stamp, '^(.*)/(%d+)$')
  return worker, tonumber(counter)
end

-- Returns the last whole set of open sessions of a worker. Its key expires when no more frames of the worker arrive.
-- Then the result is false.
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

-- Whether a session is still open, as far as its worker has reported.
local function is_open(stamp)
  local worker, counter = split(stamp)
  local set = last_set(worker)
  return set and counter >= set.settled
end

-- Counts a session with its newest stamp. The sessions of a client are a hash from session to stamp.
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

-- Counts a session that opens, and returns the number of sessions of its client. When this number is over the limit,
-- sessions that are not open any more are removed first.
local function open_session(client, session, limit, stamp)
  local key = prefix .. 'sessions:' .. client
  local worker, counter = split(stamp)
  local set = last_set(worker)
  if set and counter < set.settled then
    -- A newer set of the worker does not contain this session, so it has ended or was given up.
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

-- Stops counting a session. `remember` is 1 when a set that contains the session may still arrive.
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

-- Counts one session of a whole set, unless a newer set has arrived, or the session has closed since the set was made.
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

-- Ends a whole set. Sessions that opened in frames before `settled` and are not in the set are not open any more.
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

-- Counts one more in a minute, and returns the number in this minute. With a limit below 0, the number is only read.
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
