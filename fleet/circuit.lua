-- One circuit that the processes of a fleet share. KEYS[1] is a hash:
--   g  generation: the number of changes of state, a fencing number
--   s  state: c (CLOSED), o (OPEN; HALF_OPEN when u is over), fo and fc (forced)
--   u  when an OPEN circuit admits a probe, in ms of the server's clock
--   n  openings since it was last CLOSED; t since when; k, ks, kc, by: why and who opened it
--   a  answers so far, as far as they were reported
--   f  the last failures, the oldest first: time,process,answers,lasted,tripped;...
--   p  probes that succeeded; l  leases of probes: id,end;...
--   r  round in which processes report their answers; ra when it began; rc whether it decides
--   m<process>  when it was last seen, in s, the last round that it took part in, and the
--      number of its last report
-- ARGV[1] is the command to publish with, ARGV[2] the request in JSON.

local key = KEYS[1]
local publish = ARGV[1]
local q = cjson.decode(ARGV[2])
local c = q.c -- the settings of the circuit, times in ms
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)

-- A process that was seen within so many ms takes part in rounds.
local LIVING = 3000
-- The first failure begins a round if the last one is older. Answers that are reported in it
-- came before that failure.
local FRESH = 250
-- How long a deciding round waits for processes that do not report.
local PATIENCE = 50

local function split(text, separator)
	local parts = {}
	for part in string.gmatch(text, '[^' .. separator .. ']+') do
		parts[#parts + 1] = part
	end
	return parts
end

local h = {}
local flat = redis.call('HGETALL', key)
for i = 1, #flat, 2 do
	h[flat[i]] = flat[i + 1]
end

local gen = tonumber(h.g or '0')
local state = h.s or 'c'
local until_ = tonumber(h.u or '0')
local openings = tonumber(h.n or '0')
local answers = tonumber(h.a or '0')
local passed = tonumber(h.p or '0')
local round = tonumber(h.r or '0')
local began = tonumber(h.ra or '0')
local deciding = h.rc == '1'
local kind, status, code, by = h.k or '', h.ks or '0', h.kc or '', h.by or ''
local since = tonumber(h.t or '0')

local failures = {}
for _, text in ipairs(split(h.f or '', ';')) do
	local p = split(text, ',')
	failures[#failures + 1] = {
		t = tonumber(p[1]), m = p[2], a = tonumber(p[3]), lasted = tonumber(p[4]), trip = p[5] == '1',
	}
end
local leases = {}
for _, text in ipairs(split(h.l or '', ';')) do
	local p = split(text, ',')
	leases[#leases + 1] = { id = p[1], ends = tonumber(p[2]) }
end

-- seen is the number of processes within the window, living that of those now.
local seen, living, waiting = 0, 0, 0
local gone = {}
local function meet(window)
	local lately = false
	for field, value in pairs(h) do
		if string.sub(field, 1, 1) == 'm' then
			local p = split(value, ',')
			local age = now - tonumber(p[1]) * 1000
			if age > window and string.sub(field, 2) ~= q.me then
				gone[#gone + 1] = field
			else
				seen = seen + 1
				if age <= LIVING then
					living = living + 1
					if tonumber(p[2]) ~= round then
						waiting = waiting + 1
					end
				end
			end
		end
	end
end

local function turn(to)
	gen, state, since = gen + 1, to, now
	failures, leases, passed, deciding = {}, {}, 0, false
end

local function told()
	local text = cjson.encode({
		g = string.format('%.0f', gen), s = state, left = math.max(0, until_ - now), n = openings,
		k = kind, ks = tonumber(status), kc = code, by = by, age = now - since,
	})
	return text
end

local function tell()
	redis.call(publish, key .. ':told', told())
end

local function open(f)
	local time
	if f.trip then
		time = f.asked
		if time <= 0 then
			time = c.trip
		end
	else
		time = math.max(c.recovery * c.factor ^ openings, f.asked)
	end
	turn('o')
	until_ = now + math.min(time, c.most)
	openings = openings + 1
	kind, status, code, by = f.k, tostring(f.ks), f.kc, q.name
	tell()
end

local function close()
	turn('c')
	openings, kind, status, code, by = 0, '', '0', '', ''
	tell()
end

-- window returns how far back failures count.
local function window()
	local longest = 0
	for _, f in ipairs(failures) do
		longest = math.max(longest, f.lasted)
	end
	return math.max(c.window, c.threshold * longest)
end

local function reporters()
	if seen <= 1 then
		return 1
	end
	local least = c.reporters
	if least <= 0 then
		least = math.max(2, math.ceil(seen / 10))
	end
	return math.min(least, seen)
end

-- opens reports whether the circuit opens: the shortest run of last failures that is long
-- enough and comes from enough processes lies in the window, and is a large enough share of
-- the calls that ended since its first failure.
local function opens()
	local least, w = reporters(), window()
	local from, count, trippers, tripped = {}, 0, {}, 0
	for i = #failures, 1, -1 do
		local f = failures[i]
		if now - f.t > w then
			break
		end
		if f.trip and not trippers[f.m] then
			trippers[f.m] = true
			tripped = tripped + 1
			if tripped >= least then
				return true
			end
		end
		if not from[f.m] then
			from[f.m] = true
			count = count + 1
		end
		local n = #failures - i + 1
		if n >= c.threshold and count >= least then
			return c.rate < 0 or n / (n + answers - f.a) >= c.rate
		end
	end
	return false
end

-- meeting records that the process was seen, and takes part in the round.
local function meeting()
	h['m' .. q.me] = string.format('%.0f,%.0f,%.0f', math.floor(now / 1000), round, q.seq)
end

local function begin(decides)
	round, began, deciding = round + 1, now, decides
	meeting()
	redis.call(publish, key .. ':told', cjson.encode({ count = round }))
end

-- report takes in what a process says: its answers since the last time, and its failures.
local function report()
	local mine = split(h['m' .. q.me] or '0,-1,0', ',')
	local first = tonumber(mine[2]) ~= round
	if tonumber(mine[3]) >= q.seq then -- it has come before, and its answer was lost
		q.a, q.f = 0, {}
	end
	answers = answers + q.a
	if first and not deciding and round > 0 then
		for _, f in ipairs(failures) do
			if f.t >= began then
				f.a = f.a + q.a
			end
		end
	end
	meeting()
	meet(window())
	if q.g ~= gen then
		return
	end
	if state == 'o' and q.recovered and until_ <= now then
		close()
		return
	end
	local last
	for _, f in ipairs(q.f) do
		last = f
		if state == 'o' and until_ <= now then
			open(f)
			return
		end
		if state == 'c' then
			failures[#failures + 1] = { t = now - f.age, m = q.me, a = answers, lasted = f.lasted, trip = f.trip }
		end
	end
	if state ~= 'c' then
		return
	end
	if last then
		table.sort(failures, function(x, y)
			return x.t < y.t
		end)
		kind, status, code = last.k, tostring(last.ks), last.kc
		h.asked, h.trip = tostring(last.asked), last.trip and '1' or '0'
	end
	local most = c.threshold + 4 * reporters()
	while #failures > most do
		table.remove(failures, 1)
	end
	if #failures == 0 then
		return
	end
	if opens() then
		if living <= 1 or deciding and (waiting == 0 or now - began >= PATIENCE) then
			open({ trip = h.trip == '1', asked = tonumber(h.asked or '0'), k = kind, ks = status, kc = code })
		elseif not deciding then
			begin(true)
		end
	else
		deciding = false
		if last and living > 1 and now - began > FRESH then
			begin(false)
		end
	end
end

local answer = {}

-- probe lends a probe.
local function probe()
	if q.g ~= gen or state ~= 'o' or until_ > now then
		return
	end
	local kept, soonest = {}, nil
	for _, lease in ipairs(leases) do
		if lease.ends > now then
			kept[#kept + 1] = lease
			soonest = math.min(soonest or lease.ends, lease.ends)
		end
	end
	leases = kept
	if #leases >= c.probes then
		answer.wait = soonest - now
		return
	end
	local last = tonumber(h.li or '0')
	local id = math.max(last + 1, now * 1024)
	h.li = string.format('%.0f', id)
	leases[#leases + 1] = { id = h.li, ends = now + c.lease }
	answer.lease = h.li
end

-- probed ends a probe.
local function probed()
	if q.g ~= gen or state ~= 'o' then
		return
	end
	for i, lease in ipairs(leases) do
		if lease.id == q.lease then
			table.remove(leases, i)
			break
		end
	end
	if q.o == 'f' then
		open(q.f[1])
	elseif q.o == 's' then
		passed = passed + 1
		if passed >= c.passes then
			close()
		else
			tell()
		end
	else
		tell()
	end
end

-- A process knows of a later generation than the store, which has lost it: the state is put
-- back, so that generations never go back.
if q.g > gen and q.op ~= 'look' then
	gen, state, until_, openings = q.g, q.s, now + q.left, q.n
	kind, status, code, since = q.k, tostring(q.ks), q.kc, now
	failures, leases, passed, deciding = {}, {}, 0, false
elseif gen == 0 and q.op ~= 'look' then
	gen, state, since = 1, 'c', now
	if q.g == 0 then
		q.g = 1
	end
elseif q.g == 0 then
	q.g = gen -- a joiner adopts the state
end

if q.op == 'report' then
	report()
elseif q.op == 'probe' then
	probe()
elseif q.op == 'probed' then
	probed()
elseif q.op == 'open' then
	turn('fo')
	kind, status, code, by = q.why, '0', '', q.name
	tell()
elseif q.op == 'closed' then
	turn('fc')
	kind, status, code, by = '', '0', '', q.name
	tell()
elseif q.op == 'reset' then
	close()
end

if q.op ~= 'look' then
	local text = {}
	for i, f in ipairs(failures) do
		text[i] = string.format('%.0f,%s,%.0f,%.0f,%s', f.t, f.m, f.a, f.lasted, f.trip and '1' or '0')
	end
	local lent = {}
	for i, lease in ipairs(leases) do
		lent[i] = lease.id .. ',' .. string.format('%.0f', lease.ends)
	end
	redis.call('HSET', key,
		'g', string.format('%.0f', gen), 's', state, 'u', string.format('%.0f', until_), 'n', tostring(openings),
		't', string.format('%.0f', since), 'k', kind, 'ks', status, 'kc', code, 'by', by,
		'a', string.format('%.0f', answers), 'f', table.concat(text, ';'), 'p', tostring(passed), 'l', table.concat(lent, ';'),
		'r', tostring(round), 'ra', string.format('%.0f', began), 'rc', deciding and '1' or '0',
		'li', h.li or '0', 'asked', h.asked or '0', 'trip', h.trip or '0', 'c', cjson.encode(c), 'name', q.endpoint ~= '' and q.endpoint or h.name or '')
	if q.me and h['m' .. q.me] then
		redis.call('HSET', key, 'm' .. q.me, h['m' .. q.me])
	end
	for _, field in ipairs(gone) do
		redis.call('HDEL', key, field)
	end
	local keep = 2 * math.max(window(), c.most, c.lease)
	if state == 'fo' or state == 'fc' then
		keep = 7 * 24 * 3600 * 1000
	end
	redis.call('PEXPIRE', key, string.format('%.0f', keep))
else
	c = cjson.decode(h.c or '{}')
	meet(c.window or 0)
	answer.name, answer.c = h.name or '', h.c or '{}'
	answer.failures, answer.leases = #failures, #leases
	local from, count = {}, 0
	for _, f in ipairs(failures) do
		if not from[f.m] then
			from[f.m], count = true, count + 1
		end
	end
	answer.reporters = count
	answer.least = c.reporters and reporters() or 0
end

answer.living, answer.deciding = living, deciding
answer.state = told()
return cjson.encode(answer)
