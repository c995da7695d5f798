// Package lua is a server in memory that runs the scripts of a fleet: the same texts as a
// Redis server does, over maps. Tests and simulations use it in bubbles of testing/synctest,
// where its time is the bubble's; nothing else imports it.
//
// [New] makes a [Server], whose methods do to it what happens to real ones: it is down, it
// hangs, it comes back empty or with old data, its messages are late or lost. [Server.Dial] gives each process
// a [Client] of its own, which is a [store.Store] and can be cut off alone.
//
// What a script sees is what it sees in Redis 7: numbers become text with 14 digits ("%.14g")
// when they are concatenated or encoded, and with 17 as arguments of commands; an empty table
// is {}; a field that is missing is false; a global that was not set is an error, and so is
// setting one. The commands are HGET, HSET, HMGET, HGETALL, HDEL, HLEN, HKEYS, DEL, EXISTS,
// PEXPIRE, PTTL, TIME, PUBLISH and SPUBLISH, on KEYS[1] and its channel alone: any other is an
// error, as it might be in a Cluster. What differs in Redis:
//
//   - the order of pairs, and of the fields in what cjson.encode returns;
//   - math.random, which is the same in each run there, and is missing here;
//   - cjson.decode takes more than JSON there ("[0x10]", "[nan]");
//   - zero has no sign here;
//   - a text with leading zeros that is used as a number without tonumber is octal here.
package lua
