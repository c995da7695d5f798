-- One learned rate that the processes of a fleet share. KEYS[1] is a hash:
--   e  epoch: numbers the cuts of the rate; never falls
--   r  requests a second, of all processes; s phase: start, shut or steady; k 1: the limit is known
--   c, h, a  the last episode, when a request last waited for the rate, and for any reason,
--      in ms of the server's clock; t the told times since the last episode, in ms; by who cut
--   p  how many turns the rate has allowed, when the hash was last written; pt when that was
--   bt when processes came back after a time without the store, and bw, br: the sum of their
--      parts, and of their rates by their parts
--   u  the end of the told time; ut when that was told, tb by whom, tr 1: in place of all others;
--      us when the provider last said such a time, ur when one in place of all before it
--   n<process>  how many requests a second it wants to send, and when it said so
-- ARGV[1] is the command to publish with, ARGV[2] the report of a process in JSON. All times in
-- it are ages or waits.

local key = KEYS[1]
local publish = ARGV[1]
local q = cjson.decode(ARGV[2])
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + tonumber(clock[2]) / 1000

-- A process that was not heard of for so many ms is forgotten; its peers leave it out earlier.
local GONE = 30000
-- All are back so many ms after the first one. A store that was written to within LIVE ms was
-- not away.
local RETURN, LIVE = 8000, 2000

local h = {}
local flat = redis.call('HGETALL', key)
for i = 1, #flat, 2 do
	h[flat[i]] = flat[i + 1]
end
local function whole(x)
	return string.format('%.0f', x)
end
local function number(field)
	return tonumber(h[field] or '0')
end

local changed, set = q.urgent, {}
local function put(field, value)
	h[field] = value
	set[#set + 1] = field
	set[#set + 1] = value
end

local function learned()
	put('r', tostring(q.rate))
	put('s', q.phase)
	put('k', q.known and '1' or '0')
	put('t', whole(q.toll))
	put('c', whole(now - q.calm))
	put('h', whole(now - q.held))
	put('a', whole(now - q.asked))
end

-- Turns go by with the rate, and stand still in a told time.
local turns = number('p') + number('r') * math.max(0, now - math.max(number('pt'), number('u'))) / 1000

-- After a time without the store each process has a rate of its own. That of all is then their
-- mean, by the parts of those who are back; but who alone was cut off takes that of the others.
local function back()
	if now - number('bt') > RETURN then
		if now - number('pt') < LIVE then
			if q.epoch >= number('e') and q.rate > number('r') then
				put('e', whole(math.max(q.epoch + 1, now))) -- or its own would count as growth
				changed = true
			end
			return
		end
		put('bt', whole(now))
		put('bw', '0')
		put('br', '0')
		turns = q.turns
	end
	put('bw', tostring(number('bw') + q.part))
	put('br', tostring(number('br') + q.part * q.rate))
	put('e', whole(math.max(number('e') + 1, q.epoch + 1, now)))
	put('by', '')
	learned()
	put('r', tostring(number('br') / number('bw')))
	changed = true
end

local epoch = number('e')
if q.part then
	back()
elseif q.cut then
	-- Only a cut of the rate that all share counts: of those that follow from the same refusals
	-- the first.
	if q.epoch >= epoch then
		put('e', whole(math.max(q.epoch + 1, now)))
		put('by', q.me)
		learned()
		if not h.p then
			turns = q.turns
		end
		changed = true
	end
elseif q.rate > 0 and q.epoch > epoch then
	put('e', whole(q.epoch)) -- the store has lost it
	put('by', '')
	learned()
	turns = q.turns
	changed = true
elseif q.rate > 0 and q.epoch == epoch and epoch > 0 then
	if q.rate > number('r') then
		put('r', tostring(q.rate))
	end
	if h.s == 'shut' and q.phase == 'start' then
		put('s', 'start')
		changed = true
	end
	put('h', whole(math.max(number('h'), now - q.held)))
	put('a', whole(math.max(number('a'), now - q.asked)))
end

if q.told then
	local ends, said = now + q.told, now - q.told_age
	local last = number(q.replaces and 'us' or 'ur')
	if last > now then -- the clock was put back
		last = 0
	end
	if said >= last and (q.replaces or ends > number('u')) then
		put('u', whole(ends))
		put('us', whole(math.max(said, number('us'))))
		if q.replaces then
			put('ur', whole(said))
		end
		put('ut', whole(math.max(number('ut') + 1, now)))
		put('tb', q.me)
		put('tr', q.replaces and '1' or '0')
		changed = true
	end
end

if q.takes_part then
	put('n' .. q.me, string.format('%.4f,%.0f', q.need, now))
end
local needs, gone = {}, {}
for field, value in pairs(h) do
	if string.sub(field, 1, 1) == 'n' then
		local need, at = string.match(value, '([^,]+),(.+)')
		local age = math.max(0, math.floor(now - tonumber(at)))
		if age > GONE then
			gone[#gone + 1] = field
		else
			needs[string.sub(field, 2)] = { tonumber(need), age }
		end
	end
end

if #set > 0 then
	put('p', string.format('%.6f', turns))
	put('pt', string.format('%.3f', now))
	redis.call('HSET', key, unpack(set))
	for _, field in ipairs(gone) do
		redis.call('HDEL', key, field)
	end
	redis.call('PEXPIRE', key, whole(120000 + math.max(0, number('u') - now)))
end

local text = cjson.encode({
	at = whole(now), epoch = whole(number('e')), rate = number('r'), phase = h.s or '', known = h.k == '1', by = h.by or '',
	toll = number('t'), calm = whole(now - number('c')), held = whole(now - number('h')), asked = whole(now - number('a')),
	told = whole(math.max(0, number('u') - now)), told_at = number('ut'), told_by = h.tb or '', replaces = h.tr == '1',
	turns = turns, needs = needs,
})
if changed then
	redis.pcall(publish, key .. ':told', text) -- who may not publish is heard with the next exchange
end
return text
