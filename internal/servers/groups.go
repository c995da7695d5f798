package servers

import (
	"strconv"
	"strings"
	"testing"
)

// MasterSet is the name by which Sentinels know the master of [Sentinel].
const MasterSet = "fleet"

// Sentinels are a master, its replica, and three Sentinels that watch them.
type Sentinels struct {
	URL       string
	Servers   []*Server // the first was the master when they began
	Sentinels []*Server
	t         testing.TB
}

// Sentinel starts a master, a replica and three Sentinels. A master that does not answer for
// a second is replaced.
func Sentinel(t testing.TB) *Sentinels {
	t.Helper()
	need(t)
	g := &Sentinels{t: t}
	master := single(t, "", nil)
	replica := single(t, "", []string{"--replicaof", "127.0.0.1 " + master.port()})
	g.Servers = []*Server{master, replica}
	until(t, "a replica", func() bool { return strings.Contains(replica.Do("info", "replication"), "master_link_status:up") })
	for range 3 {
		file := write(t, "sentinel.conf", "bind 127.0.0.1\ndir "+t.TempDir()+
			"\nsentinel monitor "+MasterSet+" 127.0.0.1 "+master.port()+" 2"+
			"\nsentinel down-after-milliseconds "+MasterSet+" 1000"+
			"\nsentinel failover-timeout "+MasterSet+" 5000\n")
		s := &Server{t: t, program: "redis-sentinel", args: []string{file}}
		s.begin()
		g.Sentinels = append(g.Sentinels, s)
	}
	for _, s := range g.Sentinels {
		until(t, "Sentinels that know each other", func() bool {
			text := s.Do("sentinel", "master", MasterSet)
			return after(text, "num-slaves") == "1" && after(text, "num-other-sentinels") == "2" && after(text, "flags") == "master"
		})
	}
	g.URL = "redis://" + g.Sentinels[0].Addr + "?master_set=" + MasterSet
	for _, s := range g.Sentinels[1:] {
		g.URL += "&addr=" + s.Addr
	}
	return g
}

// after returns the line after a name, in what redis-cli prints of a map.
func after(text, name string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines[:len(lines)-1] {
		if strings.TrimSpace(line) == name {
			return strings.TrimSpace(lines[i+1])
		}
	}
	return ""
}

// Master returns the server that the Sentinels call the master.
func (g *Sentinels) Master() *Server {
	g.t.Helper()
	port := strings.Fields(g.Sentinels[0].Do("sentinel", "get-master-addr-by-name", MasterSet))[1]
	for _, s := range g.Servers {
		if s.port() == port {
			return s
		}
	}
	g.t.Fatalf("the master is at port %s", port)
	return nil
}

// Failover has the Sentinels make the replica the master, and waits until it is.
func (g *Sentinels) Failover() {
	g.t.Helper()
	old := g.Master()
	g.Sentinels[0].Do("sentinel", "failover", MasterSet)
	g.Follow(old)
}

// Follow waits until a server is not the master any more, as after its end, and returns the
// one that is.
func (g *Sentinels) Follow(old *Server) *Server {
	g.t.Helper()
	until(g.t, "a new master", func() bool {
		now := g.Master()
		return now != old && strings.Contains(now.Do("role"), "master")
	})
	return g.Master()
}

// Nodes are the masters of a Cluster.
type Nodes struct {
	URL   string
	Nodes []*Server
}

// Cluster starts a Cluster of three masters, without replicas, with more arguments as redis-server
// takes them. What a node that is lost has is lost; the others go on.
func Cluster(t testing.TB, args ...string) *Nodes {
	t.Helper()
	need(t)
	g := &Nodes{}
	var addresses []string
	for range 3 {
		s := single(t, "", append([]string{
			"--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(free(t)), "--cluster-config-file", "nodes.conf",
			"--cluster-node-timeout", "2000", "--cluster-require-full-coverage", "no",
		}, args...))
		g.Nodes = append(g.Nodes, s)
		addresses = append(addresses, s.Addr)
	}
	create := append([]string{"--cluster", "create"}, addresses...)
	g.Nodes[0].Do(append(create, "--cluster-yes")...)
	for _, s := range g.Nodes {
		until(t, "a Cluster", func() bool {
			text := s.Do("cluster", "info")
			return strings.Contains(text, "cluster_state:ok") && strings.Contains(text, "cluster_slots_ok:16384")
		})
	}
	g.URL = "redis://" + addresses[0] + "?addr=" + addresses[1] + "&addr=" + addresses[2]
	return g
}

// Of returns the node that has a key.
func (g *Nodes) Of(key string) *Server {
	first := g.Nodes[0]
	slot := first.Do("cluster", "keyslot", key)
	number, err := strconv.Atoi(slot)
	if err != nil {
		first.t.Fatal(err)
	}
	for _, line := range strings.Split(first.Do("cluster", "nodes"), "\n") {
		fields := strings.Fields(line)
		for _, some := range fields[8:] {
			from, to, _ := strings.Cut(some, "-")
			low, err1 := strconv.Atoi(from)
			high, err2 := strconv.Atoi(to)
			if err1 != nil || err2 != nil || number < low || number > high {
				continue
			}
			for _, s := range g.Nodes {
				if strings.HasPrefix(fields[1], s.Addr+"@") {
					return s
				}
			}
		}
	}
	first.t.Fatalf("no node has slot %s", slot)
	return nil
}

// Move moves the slot that has a key to another node, with all that is in it. While its keys have
// been moved and the slot has not, half is called: then clients are sent on for one question at a
// time (ASK).
func (g *Nodes) Move(key string, half func()) {
	from := g.Of(key)
	from.t.Helper()
	to := g.Nodes[0]
	if to == from {
		to = g.Nodes[1]
	}
	slot, source, target := from.Do("cluster", "keyslot", key), from.Do("cluster", "myid"), to.Do("cluster", "myid")
	to.Do("cluster", "setslot", slot, "importing", source)
	from.Do("cluster", "setslot", slot, "migrating", target)
	for _, each := range strings.Fields(from.Do("cluster", "getkeysinslot", slot, "1000")) {
		from.Do("migrate", "127.0.0.1", to.port(), each, "0", "5000")
	}
	half()
	for _, node := range append([]*Server{to, from}, g.Nodes...) {
		node.Do("cluster", "setslot", slot, "node", target)
	}
}
