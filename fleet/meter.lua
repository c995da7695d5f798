-- A limit of so much a minute, which processes share, as a leaky bucket (the generic cell rate
-- algorithm, ITU-T I.371, counts the same in times). KEYS[1] is a hash:
--   used  what is used or leased of a full bucket; more than it holds is owed
--   at    when that was so, in microseconds of the server's clock
--   per   the limit of the last report, a minute
--   x<process>  when it was last seen, in ms, and the number of its last report
-- ARGV[1] is the command to publish with, ARGV[2] the report in JSON.

local key = KEYS[1]
local q = cjson.decode(ARGV[2])
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])

-- How long a process counts after its last report, in microseconds.
local LIVING = 30 * 1000000
local ROUNDING = 1e-6

local h = {}
local flat = redis.call('HGETALL', key)
for i = 1, #flat, 2 do
	h[flat[i]] = flat[i + 1]
end

local living, last = 1, 0
for field, text in pairs(h) do
	if string.sub(field, 1, 1) == 'x' then
		local seen, number = string.match(text, '(%S+) (%S+)')
		if field == 'x' .. q.me then
			last = tonumber(number)
		elseif now - tonumber(seen) > LIVING then
			redis.call('HDEL', key, field)
		else
			living = living + 1
		end
	end
end
if q.seq < last then
	return cjson.encode({ late = true }) -- a later one was here first
end

local holds = math.ceil(q.per)
local used = 0
if h.used then
	used = tonumber(h.used)
	if tonumber(h.per) ~= q.per then -- what is missing stays missing, and what is owed is owed
		used = math.min(used, holds + math.max(0, used - math.ceil(tonumber(h.per))))
	end
	used = math.max(0, used - (now - tonumber(h.at)) / 60000000 * q.per)
end
if last < q.seq - 1 then -- a store that was restarted, empty or with old data, is told what was known, by each that comes back
	used = math.max(used, q.known)
end
if q.seq > last then -- else it was told before, and the answer was lost
	-- What was used without the store has come in meanwhile: it leaves an empty bucket at worst.
	used = math.max(used, math.min(holds, used + q.alone))
	used = math.max(0, used + q.more)
end

-- All that is asked for, or what there is if that serves somebody; and of what is left then a
-- part for what is needed soon.
local got = 0
local room = holds - used
if q.ask > 0 and room + ROUNDING >= q.least then
	got = math.min(q.ask, math.max(room, q.least))
	used = used + got
end
local more = math.min(q.ahead, (holds - used) / living)
if more > 0 then
	got, used = got + more, used + more
end

redis.call('HSET', key, 'used', string.format('%.6f', used), 'at', string.format('%.0f', now), 'per', string.format('%.17g', q.per),
	'x' .. q.me, string.format('%.0f %.0f', now, q.seq))
redis.call('PEXPIRE', key, string.format('%.0f', 60000 + math.min(86400000, used / q.per * 60000)))
return cjson.encode({ got = got, used = used, living = living })
