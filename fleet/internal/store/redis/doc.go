// Package redis is a [store.Store] on a Redis or Valkey server, a Sentinel or a Cluster, by
// redis/rueidis.
//
// [Open] only reads the URL. A connection is made when it is first needed, and again after it
// was lost: each address that refuses is left alone for a while, 100 ms that double up to 2 s,
// spread at random, however many calls want it. The same holds for one that takes connections
// and closes them at once, as with a wrong password.
//
// Nobody waits longer than his context. What rueidis does runs on goroutines of their own, at
// most four at a time for a server, or for a slot of a Cluster: those that a server does not
// answer are held for 3 s, and other calls wait for their turn until their contexts end. A
// connection without an answer is closed within 7 s.
//
// After READONLY and MASTERDOWN all connections are made again: the address may lead to another master by now.
// Where a greeting is refused for what it asks (RESP3, a name, no password for a Sentinel), the
// next one asks for less.
//
// A script is sent with its text once, then as EVALSHA. Those that a server does not know (it
// has started, or failed over, or SCRIPT FLUSH was run) are sent once more with their text,
// after the others. So calls are run in their order, but for those of a script that a server has
// lost while it knows another.
package redis
