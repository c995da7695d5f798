-- Configured limits of requests and tokens a minute that the processes of a fleet share, as a
-- generic cell rate algorithm (ITU-T I.371). KEYS[1] is a hash:
--   r, t  when the requests, and the tokens, that were lent will have come in: the theoretical
--         arrival time, in microseconds of the server's clock
-- ARGV[2] is JSON: the rates (a microsecond) and bursts of the two, how much is asked for, how
-- much goes back, what was used while the store was lost, and by how much what was lent is
-- corrected, such as by what was used before a late lease came;
-- at is when it was sent, by the clock of this store, or 0.
-- It returns for how many microseconds the process must wait before it may use what it asked for,
-- and the time. Nothing is lent to who has given up waiting: then the wait is -1.

local key = KEYS[1]
local q = cjson.decode(ARGV[2])
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])

-- A server that was stopped answers later what it was asked meanwhile.
local GIVEN_UP = 500000
-- What is longer away, in microseconds, is not told apart: four months.
local LONGEST = 1e13

local stale = q.at > 0 and math.abs(now - q.at) > GIVEN_UP
if stale then
	q.requests.ask, q.tokens.ask = 0, 0
end

local kept = redis.call('HMGET', key, 'r', 't')

-- before returns the arrival time before anything is lent, and the wait for what is asked for.
local function before(arrival, limit)
	if limit.rate <= 0 then
		return now, 0
	end
	local full = now - limit.burst / limit.rate -- the arrival time of a full bucket
	local at = math.max(tonumber(arrival or '0'), full)
	-- What was used without the store has come in meanwhile: it leaves an empty bucket at worst.
	at = math.max(at, math.min(now, at + limit.alone / limit.rate))
	at = math.max(full, at + (limit.corrected - limit.back) / limit.rate)
	if limit.ask <= 0 then
		return at, 0
	end
	-- More than the burst is lent when the bucket is full.
	return at, math.max(0, at + math.min(limit.ask, limit.burst) / limit.rate - now)
end

-- lend returns the arrival time of what is used after a wait.
local function lend(at, limit, wait)
	if limit.rate <= 0 or limit.ask <= 0 then
		return at
	end
	return math.max(at, now + wait - limit.burst / limit.rate) + limit.ask / limit.rate
end

local requests, first = before(kept[1], q.requests)
local tokens, second = before(kept[2], q.tokens)
local wait = math.min(LONGEST, math.ceil(math.max(first, second)))
requests, tokens = lend(requests, q.requests, wait), lend(tokens, q.tokens, wait)
redis.call('HSET', key, 'r', string.format('%.0f', requests), 't', string.format('%.0f', tokens))
redis.call('PEXPIRE', key, string.format('%.0f', 120000 + math.max(0, math.min(LONGEST, math.max(requests, tokens) - now)) / 1000))
return cjson.encode({ wait = stale and -1 or wait, now = string.format('%.0f', now) })
