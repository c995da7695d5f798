-- One circuit that the processes of a fleet share. KEYS[1] is a hash of few fields, since each
-- costs more than what is in it. Field x has, separated by spaces:
--   g  generation: the number of changes of state, a fencing number
--   s  state: c (CLOSED), o (OPEN; HALF_OPEN when u is over), fo and fc (forced)
--   u  when an OPEN circuit admits a probe, in ms of the server's clock
--   n  openings since it was last CLOSED; t since when it is in that state
--   a  answers so far, as far as they were reported
--   p  probes that succeeded; li the last lease of one
--   r  round in which processes report their answers; ra when it began; rc whether it decides
--   asked, trip  of the last failure; lo how long the longest lasted
--   at when it was last changed
-- The others are
--   why   kind, status and code of the last failure, and the process that opened it, in JSON
--   f  the last failures, the oldest first: time,process,answers before it,lasted,
--      tripped,round;...
--   b  the blocks of those before, the oldest first: number, failures, time of the last,
--      the longest that one lasted, the latest round, 1 if one tripped, processes with a colon
--      after each;...
--   f<number>  the failures of a block, as in f
--   l  leases of probes: id,end,member;...
--   m  members: id, when it was last seen in s, the last round that it took part in, and the
--      numbers of its last report and of the last end of a probe that it told;...
--   c, name  settings in JSON, and the name of the endpoint
-- A member is one breaker of a process: the process, a point, and a number.
-- ARGV[1] is the command to publish with, ARGV[2] the request in JSON. What is published is
-- told after all is kept: a store that is full keeps nothing. What it does not allow to be
-- published is heard with the next exchange.

local key = KEYS[1]
local publish = ARGV[1]
local q = cjson.decode(ARGV[2])
local c = q.c -- the settings of the circuit, times in ms
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)

-- A server that was stopped, or a network that was cut, passes on later what was asked
-- meanwhile. Who still wants to know asks again, with the ages of now.
local LATE = 500
if q.at > 0 and math.abs(now - q.at) > LATE then
	return cjson.encode({ late = true, now = string.format('%.0f', now) })
end

-- A process that was seen within so many ms takes part in rounds.
local LIVING = 3000
-- A failure begins a round if the last one is older. What a process reports first in a round
-- came before the failures of that round.
local FRESH = 250
-- How long a deciding round waits for processes that do not report.
local PATIENCE = 50
-- So many failures are a block. There may be ten thousand: one more touches the last ones, the
-- blocks' summaries, and a block.
local BLOCK = math.max(16, math.ceil(math.sqrt(c.threshold)))

local function split(text, separator)
	local parts = {}
	for part in string.gmatch(text, '[^' .. separator .. ']+') do
		parts[#parts + 1] = part
	end
	return parts
end

local PACKED = { 'g', 's', 'u', 'n', 't', 'a', 'p', 'li', 'r', 'ra', 'rc', 'asked', 'trip', 'lo', 'at' }

local h = {}
local FIELDS = { 'x', 'why', 'l', 'm', 'c', 'name' }
for i, text in ipairs(redis.call('HMGET', key, unpack(FIELDS))) do
	h[FIELDS[i]] = text or nil
end
for i, text in ipairs(split(h.x or '', ' ')) do
	h[PACKED[i]] = text
end

-- How far the server's clock was put back since: all times of it are too late by that.
local back = math.max(0, tonumber(h.at or '0') - now)

local gen = tonumber(h.g or '0')
local state = h.s or 'c'
local until_ = tonumber(h.u or '0') - back
local openings = tonumber(h.n or '0')
local answers = tonumber(h.a or '0')
local passed = tonumber(h.p or '0')
local round = tonumber(h.r or '0')
local began = tonumber(h.ra or '0') - back
local deciding = h.rc == '1'
local kind, status, code, by = unpack(cjson.decode(h.why or '["","0","",""]'))
local since = tonumber(h.t or '0') - back

local function read(text)
	local list = {}
	for _, one in ipairs(split(text or '', ';')) do
		local p = split(one, ',')
		list[#list + 1] = {
			t = tonumber(p[1]) - back, m = p[2], a = tonumber(p[3]), lasted = tonumber(p[4]), trip = p[5] == '1',
			round = tonumber(p[6]),
		}
	end
	return list
end

-- failures are the last ones, blocks those before, of which there are sealed in all. They
-- are read only when they are needed. unset are fields that are to go.
local failures
local blocks, sealed, unset = {}, 0, {}

local function field(block) return string.format('f%.0f', block.k) end

-- forget leaves out a block, the first or the last.
local function forget(i)
	local block = table.remove(blocks, i)
	sealed = sealed - block.n
	unset[#unset + 1] = field(block)
	return block
end

-- reopen takes the failures of the blocks from the i-th on among the last ones.
local function reopen(i)
	if i > #blocks then
		return
	end
	local all = {}
	for k = i, #blocks do
		for _, f in ipairs(read(redis.call('HGET', key, field(blocks[k])))) do
			all[#all + 1] = f
		end
	end
	for _, f in ipairs(failures) do
		all[#all + 1] = f
	end
	failures = all
	while #blocks >= i do
		forget(#blocks)
	end
end

local function load()
	if failures then
		return
	end
	local kept = redis.call('HMGET', key, 'f', 'b')
	failures = read(kept[1])
	for _, text in ipairs(split(kept[2] or '', ';')) do
		local p = split(text, ',')
		local block = {
			k = tonumber(p[1]), n = tonumber(p[2]), t = tonumber(p[3]), lasted = tonumber(p[4]), round = tonumber(p[5]),
			trip = p[6] == '1', from = p[7],
		}
		blocks[#blocks + 1] = block
		sealed = sealed + block.n
	end
end

-- none forgets all failures.
local function none()
	load()
	while #blocks > 0 do
		forget(1)
	end
	failures = {}
end

if back > 0 then -- to put their times back too
	load()
	reopen(1)
end
local leases = {}
for _, text in ipairs(split(h.l or '', ';')) do
	local p = split(text, ',')
	leases[#leases + 1] = { id = p[1], ends = tonumber(p[2]) - back, m = p[3] }
end

local members = {}
for _, text in ipairs(split(h.m or '', ';')) do
	local p = split(text, ',')
	members[p[1]] = {
		at = tonumber(p[2]) * 1000 - back, round = tonumber(p[3]), report = tonumber(p[4]), ended = tonumber(p[5]),
	}
end

local function process(id) return string.match(id, '^[^.]*') end

-- seen is the number of processes within the window, living that of those now, waiting that of
-- the members who have yet to report in this round.
local seen, living, waiting = 0, 0, 0
local function meet(window)
	local known, alive = {}, {}
	for id, member in pairs(members) do
		local age, of = now - member.at, process(id)
		if age > math.max(window, LIVING) and id ~= q.me then
			members[id] = nil
		else
			if not known[of] then
				known[of], seen = true, seen + 1
			end
			if age <= LIVING then
				if not alive[of] then
					alive[of], living = true, living + 1
				end
				if member.round ~= round then
					waiting = waiting + 1
				end
			end
		end
	end
end

-- A store that was restarted empty has yet to meet the others, of whom processes know.
local function lone()
	return math.max(living, q.met) <= 1
end

local function turn(to)
	gen, state, since = gen + 1, to, now
	none()
	leases, passed, deciding = {}, 0, false
end

local function told()
	local text = cjson.encode({
		g = string.format('%.0f', gen), s = state, left = math.max(0, until_ - now), n = openings,
		k = kind, ks = tonumber(status), kc = code, by = by, age = now - since,
	})
	return text
end

local news, asks -- whether the state, and a round, is to be published
local function tell()
	news = true
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
	until_ = now + math.ceil(math.min(time, c.most))
	openings = openings + 1
	kind, status, code, by = f.k, tostring(f.ks), f.kc, q.name
	tell()
end

local function close()
	turn('c')
	openings, kind, status, code, by = 0, '', '0', '', ''
	tell()
end

-- window returns how far back failures count, of which the longest lasted so long.
local function window(longest)
	return math.max(c.window, c.threshold * longest)
end

local function reporters()
	local all, least = math.max(seen, q.met, 1), c.reporters
	if least <= 0 then
		least = math.max(2, math.ceil(all / 10))
	end
	return math.min(least, all)
end

-- most returns how many of the last failures are looked at.
local function most()
	return c.threshold + 4 * reporters()
end

-- opens reports whether the circuit opens: the shortest run of last failures that is long
-- enough and comes from enough processes lies in the window, and is a large enough share of
-- the calls that ended since its first failure.
local function opens()
	local least, longest, last = reporters(), 0, failures[#failures].t
	local from, count, trippers, tripped, n, limit = {}, 0, {}, 0, 0, most()
	-- run goes on with a list, and returns the answer, or nil if it depends on earlier ones.
	local function run(list)
		for i = #list, 1, -1 do
			if n == limit then
				return false
			end
			local f = list[i]
			n, longest = n + 1, math.max(longest, f.lasted)
			local lies = last - f.t <= window(longest)
			if lies and f.trip and not trippers[f.m] then
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
			if n >= c.threshold and count >= least then
				return lies and (c.rate < 0 or n / (n + answers - f.a) >= c.rate)
			end
		end
	end
	local answer = run(failures)
	for i = #blocks, 1, -1 do
		if answer ~= nil then
			break
		end
		local block, fresh = blocks[i], {}
		for id in string.gmatch(block.from, '[^:]+') do
			if not from[id] then
				fresh[#fresh + 1] = id
			end
		end
		if block.trip or n + block.n >= limit or n + block.n >= c.threshold and count + #fresh >= least then
			answer = run(read(redis.call('HGET', key, field(block))))
		else -- it can't end in this block
			n, longest, count = n + block.n, math.max(longest, block.lasted), count + #fresh
			for _, id in ipairs(fresh) do
				from[id] = true
			end
		end
	end
	return answer or false
end

-- mine returns what is known of the process, which was seen now.
local function mine()
	local me = members[q.me] or { round = -1, report = 0, ended = 0 }
	members[q.me], me.at = me, now
	return me
end

local function begin(decides)
	for _, f in ipairs(failures) do
		if f.new then
			f.round = round + 1
		end
	end
	round, began, deciding = round + 1, now, decides
	mine().round = round
	asks = cjson.encode({ count = round, from = q.me })
end

-- holds makes the leases of the process those that it knows of: the answer to others was
-- lost, and a store that was restarted empty knows of none.
local function holds()
	local held, kept = {}, {}
	for _, lease in ipairs(q.held) do
		held[lease.id] = c.lease - lease.age
	end
	for _, lease in ipairs(leases) do
		if lease.m ~= q.me or held[lease.id] then
			kept[#kept + 1] = lease
			held[lease.id] = nil
		end
	end
	local freed = #kept < #leases
	for id, left in pairs(held) do
		kept[#kept + 1] = { id = id, ends = now + left, m = q.me }
	end
	leases = kept
	if freed then
		tell()
	end
end

-- add keeps further failures in the order of their times, and forgets those that are too many.
local function add(fresh)
	local first = now
	for _, f in ipairs(fresh) do
		first = math.min(first, f.t)
	end
	local from = #blocks + 1
	while from > 1 and blocks[from - 1].t > first do
		from = from - 1
	end
	reopen(from)
	for _, f in ipairs(fresh) do
		failures[#failures + 1] = f
	end
	for i, f in ipairs(failures) do
		f.i = i
	end
	table.sort(failures, function(x, y)
		return x.t < y.t or x.t == y.t and x.i < y.i
	end)
	local limit = most()
	while #blocks > 0 and sealed - blocks[1].n + #failures >= limit do
		forget(1)
	end
	if #blocks == 0 and #failures > limit then
		local latest = {}
		for i = #failures - limit + 1, #failures do
			latest[#latest + 1] = failures[i]
		end
		failures = latest
	end
end

-- report takes in what a process says: its answers since the last time, and its failures.
local function report()
	local me = mine()
	local before = answers
	if me.report >= q.seq then -- it has come before, and its answer was lost
		q.a, q.f = 0, {}
	elseif q.g == gen then
		holds()
	end
	answers = answers + q.a
	if me.round ~= round and q.a > 0 then
		load()
		for i, block in ipairs(blocks) do
			if block.round == round then
				reopen(i)
				break
			end
		end
		for _, f in ipairs(failures) do
			if f.round == round then
				f.a = f.a + q.a
			end
		end
	end
	me.round, me.report = round, math.max(me.report, q.seq)
	meet(window(tonumber(h.lo or '0')))
	if q.g ~= gen then
		return
	end
	if state == 'o' and q.recovered and until_ <= now then
		close()
		return
	end
	if #q.f == 0 and not deciding then
		return
	end
	load()
	local last, fresh
	for _, f in ipairs(q.f) do
		if state == 'o' and until_ <= now then
			open(f)
			return
		end
		if state == 'c' and f.age <= window(f.lasted) then
			last, fresh = f, fresh or {}
			fresh[#fresh + 1] = {
				t = now - f.age, m = process(q.me), a = before + f.a, lasted = f.lasted, trip = f.trip,
				round = round, new = true,
			}
		end
	end
	if state ~= 'c' then
		return
	end
	if last then
		add(fresh)
		kind, status, code = last.k, tostring(last.ks), last.kc
		h.asked, h.trip = tostring(last.asked), last.trip and '1' or '0'
	elseif not deciding or #failures == 0 then
		return
	end
	if opens() then
		if lone() or deciding and (waiting == 0 or now - began >= PATIENCE) then
			open({ trip = h.trip == '1', asked = tonumber(h.asked or '0'), k = kind, ks = status, kc = code })
		elseif not deciding then
			begin(true)
		end
	else
		deciding = false
		if last and not lone() and now - began > FRESH then
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
	leases[#leases + 1] = { id = h.li, ends = now + c.lease, m = q.me }
	answer.lease = h.li
end

-- probed ends a probe.
local function probed()
	local me = mine()
	if me.ended >= q.seq then -- it has come before, and its answer was lost
		return
	end
	me.ended = q.seq
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
	none()
	leases, passed, deciding = {}, 0, false
elseif gen == 0 and q.op ~= 'look' then
	gen, state, since = 1, 'c', now
	if q.g == 0 then
		q.g = 1
	end
elseif q.g == 0 then
	q.g = gen -- a joiner adopts the state
elseif q.g == gen and q.s ~= state and q.op ~= 'look' then
	-- A store that was restarted empty was told different states as one generation.
	turn(state)
	tell()
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

-- written returns a list of failures as it is kept.
local function written(list, first, last)
	local text = {}
	for i = first, last do
		local f = list[i]
		text[#text + 1] = string.format('%.0f,%s,%.0f,%.0f,%s,%.0f', f.t, f.m, f.a, f.lasted, f.trip and '1' or '0', f.round)
	end
	return table.concat(text, ';')
end

-- seal makes a block of the failures from the first to the last of a list.
local function seal(list, first, last, set)
	local block = { k = #blocks > 0 and blocks[#blocks].k + 1 or 1, n = last - first + 1, t = list[last].t, lasted = 0, round = 0, trip = false, from = '' }
	local from = {}
	for i = first, last do
		local f = list[i]
		block.lasted, block.round, block.trip = math.max(block.lasted, f.lasted), math.max(block.round, f.round), block.trip or f.trip
		if not from[f.m] then
			from[f.m], block.from = true, block.from .. f.m .. ':'
		end
	end
	blocks[#blocks + 1], sealed = block, sealed + block.n
	set[#set + 1] = field(block)
	set[#set + 1] = written(list, first, last)
end

-- pack puts the failures among the fields that are to be set, and returns the longest that one
-- of them lasted.
local function pack(set)
	local first = 1
	while #failures - first + 1 >= 2 * BLOCK do
		seal(failures, first, first + BLOCK - 1, set)
		first = first + BLOCK
	end
	local longest, text = 0, {}
	for i, block in ipairs(blocks) do
		longest = math.max(longest, block.lasted)
		text[i] = string.format('%.0f,%.0f,%.0f,%.0f,%.0f,%s,%s', block.k, block.n, block.t, block.lasted, block.round, block.trip and '1' or '0', block.from)
	end
	for i = first, #failures do
		longest = math.max(longest, failures[i].lasted)
	end
	set[#set + 1] = 'f'
	set[#set + 1] = written(failures, first, #failures)
	if #blocks > 0 then
		set[#set + 1] = 'b'
		set[#set + 1] = table.concat(text, ';')
	elseif #unset > 0 then
		unset[#unset + 1] = 'b'
	end
	return longest
end

if q.op ~= 'look' then
	local set, longest = {}, tonumber(h.lo or '0')
	if failures then
		longest = pack(set)
	end
	local lent = {}
	for i, lease in ipairs(leases) do
		lent[i] = lease.id .. ',' .. string.format('%.0f', lease.ends) .. ',' .. lease.m
	end
	local met = {}
	for id, member in pairs(members) do
		met[#met + 1] = string.format('%s,%.0f,%.0f,%.0f,%.0f', id, math.floor(member.at / 1000), member.round, member.report, member.ended)
	end
	local packed = string.format('%.0f %s %.0f %.0f %.0f %.0f %.0f %s %.0f %.0f %s %s %s %.0f %.0f', gen, state, until_, openings, since,
		answers, passed, h.li or '0', round, began, deciding and '1' or '0', h.asked or '0', h.trip or '0', longest, now)
	for i = 1, #unset, 100 do
		redis.call('HDEL', key, unpack(unset, i, math.min(i + 99, #unset)))
	end
	for i = 1, #set, 100 do
		redis.call('HSET', key, unpack(set, i, math.min(i + 99, #set)))
	end
	redis.call('HSET', key, 'x', packed, 'why', cjson.encode({ kind, status, code, by }), 'l', table.concat(lent, ';'),
		'm', table.concat(met, ';'), 'c', cjson.encode(c), 'name', q.endpoint ~= '' and q.endpoint or h.name or '')
	local lasts = 2 * math.max(window(longest), c.most, c.lease, LIVING)
	if state == 'fo' or state == 'fc' then
		lasts = 7 * 24 * 3600 * 1000
	end
	redis.call('PEXPIRE', key, string.format('%.0f', lasts))
	if news then
		redis.pcall(publish, key .. ':told', told())
	end
	if asks then
		redis.pcall(publish, key .. ':told', asks)
	end
else
	c = cjson.decode(h.c or '{}')
	meet(c.window or 0)
	load()
	answer.name, answer.c = h.name or '', h.c or '{}'
	answer.failures, answer.leases = sealed + #failures, #leases
	local from, count = {}, 0
	local function hear(id)
		if not from[id] then
			from[id], count = true, count + 1
		end
	end
	for _, block in ipairs(blocks) do
		string.gsub(block.from, '[^:]+', hear)
	end
	for _, f in ipairs(failures) do
		hear(f.m)
	end
	answer.reporters = count
	answer.least = c.reporters and reporters() or 0
end

answer.living, answer.deciding, answer.now = living, deciding, string.format('%.0f', now)
answer.state = told()
return cjson.encode(answer)
