-- The limit of an account on a day, which the processes of a fleet share. KEYS[1] is a hash:
--   epoch  a text of the process that began it: a store that was restarted empty has another
--   rev    the number of reports in this epoch: it falls in a store that was restarted with old data
--   gone   what counts as spent by processes that are no longer in the hash
--   back   what was put back in this epoch
--   p<process>  number of its last report; end of its lease, in ms of the server's clock;
--          what it has used, what is open to it, what is its share
-- Amounts are tokens and nano-dollars. used <= open <= share. Only what is open may be spent,
-- so that it counts as spent when a process dies; the rest of its share goes to others then.
-- What is lent is never more than leaves
--
--     the shares of the living + what is open to the dead + gone <= limit.
--
-- ARGV[1] is the command to publish with, ARGV[2] the report in JSON.

local key = KEYS[1]
local q = cjson.decode(ARGV[2])
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)

-- How long a dead process has a field of its own, and the hash is kept, in ms.
local REMEMBER = 60 * 1000
local KEEP = 49 * 3600 * 1000

local function numbers(text)
	local all = {}
	for number in string.gmatch(text, '%S+') do
		all[#all + 1] = tonumber(number)
	end
	return all
end

local function texts(...)
	local all = {}
	for i, number in ipairs({ ... }) do
		all[i] = string.format('%.0f', number)
	end
	return all
end

local h = {}
local flat = redis.call('HGETALL', key)
for i = 1, #flat, 2 do
	h[flat[i]] = flat[i + 1]
end

-- What a store that has come back with old data keeps is known to this process already, and more:
-- it goes on like one that is empty.
if q.epoch ~= '' and q.epoch == h.epoch and tonumber(h.rev or '0') < q.rev then
	for field in pairs(h) do
		redis.call('HDEL', key, field)
	end
	h = {}
end

local mine = 'p' .. q.me
local epoch, rev = h.epoch or q.new, tonumber(h.rev or '0') + 1
local gone, back = numbers(h.gone or '0 0'), numbers(h.back or '0 0')

local known -- what the hash has of this process
if h[mine] then
	known = numbers(h[mine])
	if q.seq < known[1] then
		return cjson.encode({ late = true }) -- a later one was here first
	end
	if q.used[1] < known[3] or q.used[2] < known[4] then -- it has forgotten what it had
		gone[1], gone[2] = gone[1] + known[5], gone[2] + known[6]
	end
end
for i = 1, 2 do
	if not known and q.epoch ~= '' then -- it was among those that are gone
		gone[i] = math.max(0, gone[i] - q.open[i])
	end
	if q.epoch ~= '' and q.epoch ~= epoch then -- the store was restarted empty
		back[i] = back[i] + q.open[i]
		gone[i] = math.max(gone[i], q.total[i] - back[i])
	end
end

local taken = { gone[1], gone[2] } -- what this process can't have
local total = { gone[1], gone[2] } -- what is open, or was
local spent = { gone[1], gone[2] } -- by others
local living = 1
for field, text in pairs(h) do
	if string.sub(field, 1, 1) == 'p' and field ~= mine then
		local p = numbers(text)
		local alive = p[2] > now
		if alive then
			living = living + 1
		elseif now - p[2] > REMEMBER then
			redis.call('HDEL', key, field)
			gone[1], gone[2] = gone[1] + p[5], gone[2] + p[6]
		end
		for i = 1, 2 do
			total[i] = total[i] + p[4 + i]
			taken[i] = taken[i] + p[(alive and 6 or 4) + i]
			spent[i] = spent[i] + p[(alive and 2 or 4) + i]
		end
	end
end

local open, share = {}, {}
for i = 1, 2 do
	local room = q.limit[i] - taken[i]
	if q.limit[i] == 0 then -- no limit
		room = q.share[i]
	end
	share[i] = math.max(q.open[i], math.min(q.share[i], room)) -- what is open already may be spent
	open[i] = math.min(q.want[i], share[i])
	total[i] = total[i] + open[i]
end

if q.leaves then
	gone[1], gone[2] = gone[1] + open[1], gone[2] + open[2]
	redis.call('HDEL', key, mine)
else
	redis.call('HSET', key, mine, table.concat(texts(q.seq, now + q.lease, q.used[1], q.used[2], open[1], open[2], share[1], share[2]), ' '))
end
redis.call('HSET', key, 'epoch', epoch, 'rev', string.format('%.0f', rev), 'gone', table.concat(texts(gone[1], gone[2]), ' '), 'back', table.concat(texts(back[1], back[2]), ' '))
redis.call('PEXPIRE', key, string.format('%.0f', KEEP))

return cjson.encode({
	epoch = epoch, rev = rev, now = string.format('%.0f', now), living = living,
	open = texts(open[1], open[2]), total = texts(total[1], total[2]), spent = texts(spent[1], spent[2]),
})
