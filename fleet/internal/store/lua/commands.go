package lua

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"llmcall/fleet/internal/store"
)

// command is a command of Redis. least is the smallest number of its arguments, most the
// largest (0: any). What it returns is a string, an int, nil, a []any of them, or an error.
type command struct {
	least, most int
	do          func(s *Server, args []string) any
}

var commands = map[string]command{
	"DEL": {1, 1, func(s *Server, args []string) any {
		if s.at(args[0]) == nil {
			return 0
		}
		delete(s.keys, args[0])
		return 1
	}},
	"EXISTS": {1, 1, func(s *Server, args []string) any {
		if s.at(args[0]) == nil {
			return 0
		}
		return 1
	}},
	"HDEL": {2, 0, func(s *Server, args []string) any {
		v, err := s.hash(args[0])
		if err != nil {
			return err
		}
		deleted := 0
		for _, field := range args[1:] {
			if _, has := v.hash[field]; has {
				deleted++
				delete(v.hash, field)
				v.fields = slices.DeleteFunc(v.fields, func(f string) bool { return f == field })
			}
		}
		if len(v.hash) == 0 {
			delete(s.keys, args[0])
		}
		return deleted
	}},
	"HGET": {2, 2, func(s *Server, args []string) any {
		v, err := s.hash(args[0])
		if err != nil {
			return err
		}
		return v.field(args[1])
	}},
	"HGETALL": {1, 1, func(s *Server, args []string) any {
		v, err := s.hash(args[0])
		if err != nil {
			return err
		}
		all := []any{}
		for _, field := range v.fields {
			all = append(all, field, v.hash[field])
		}
		return all
	}},
	"HKEYS": {1, 1, func(s *Server, args []string) any {
		v, err := s.hash(args[0])
		if err != nil {
			return err
		}
		all := []any{}
		for _, field := range v.fields {
			all = append(all, field)
		}
		return all
	}},
	"HLEN": {1, 1, func(s *Server, args []string) any {
		v, err := s.hash(args[0])
		if err != nil {
			return err
		}
		return len(v.hash)
	}},
	"HMGET": {2, 0, func(s *Server, args []string) any {
		v, err := s.hash(args[0])
		if err != nil {
			return err
		}
		all := []any{}
		for _, field := range args[1:] {
			all = append(all, v.field(field))
		}
		return all
	}},
	"HSET": {3, 0, func(s *Server, args []string) any {
		if len(args)%2 == 0 {
			return errors.New("ERR wrong number of arguments for 'hset' command")
		}
		v, err := s.hash(args[0])
		if err != nil {
			return err
		}
		s.keys[args[0]] = v
		added := 0
		for pair := range slices.Chunk(args[1:], 2) {
			if _, has := v.hash[pair[0]]; !has {
				added++
				v.fields = append(v.fields, pair[0])
			}
			v.hash[pair[0]] = pair[1]
		}
		return added
	}},
	"PEXPIRE": {2, 2, func(s *Server, args []string) any {
		ms, err := strconv.ParseInt(args[1], 10, 64)
		if err != nil || strconv.FormatInt(ms, 10) != args[1] {
			return errors.New("ERR value is not an integer or out of range")
		}
		now := time.Now().UnixMilli()
		if ms > math.MaxInt64-now {
			return errors.New("ERR invalid expire time in 'pexpire' command")
		}
		v := s.at(args[0])
		if v == nil {
			return 0
		}
		v.ends = time.UnixMilli(now + ms)
		return 1
	}},
	"PTTL": {1, 1, func(s *Server, args []string) any {
		switch v := s.at(args[0]); {
		case v == nil:
			return -2
		case v.ends.IsZero():
			return -1
		default:
			return int(v.ends.UnixMilli() - time.Now().UnixMilli())
		}
	}},
	"PUBLISH":  {2, 2, func(s *Server, args []string) any { return s.publish(args[0], args[1]) }},
	"SPUBLISH": {2, 2, func(s *Server, args []string) any { return s.publish(args[0], args[1]) }},
	"TIME": {0, 0, func(s *Server, _ []string) any {
		now := time.Now().Add(s.clock).UnixMicro()
		return []any{strconv.FormatInt(now/1e6, 10), strconv.FormatInt(now%1e6, 10)}
	}},
}

// hash returns the hash at a key, or an empty one that is not kept there yet.
func (s *Server) hash(key string) (*value, error) {
	v := s.at(key)
	switch {
	case v == nil:
		return &value{hash: map[string]string{}}, nil
	case v.hash == nil:
		return nil, errors.New("WRONGTYPE Operation against a key holding the wrong kind of value")
	}
	return v, nil
}

func (v *value) field(name string) any {
	if text, has := v.hash[name]; has {
		return text
	}
	return nil
}

// do runs a command of a script that was given a key. s.mu is held.
func (s *Server) do(key, name string, args []string) any {
	name = strings.ToUpper(name)
	c, known := commands[name]
	switch {
	case !known:
		return fmt.Errorf("ERR %s is not one of the commands that scripts may use", name)
	case len(args) < c.least || name == "TIME" && len(args) > 0:
		return fmt.Errorf("ERR wrong number of arguments for '%s' command", strings.ToLower(name))
	case c.most > 0 && len(args) > c.most:
		return fmt.Errorf("ERR %s has %d arguments, scripts may give it %d", name, len(args), c.most)
	case strings.HasSuffix(name, "PUBLISH") && args[0] != store.Channel(key):
		return fmt.Errorf("ERR %s to %q, scripts may publish on %q alone", name, args[0], store.Channel(key))
	case len(args) > 0 && !strings.HasSuffix(name, "PUBLISH") && args[0] != key:
		return fmt.Errorf("ERR %s of %q, scripts may use KEYS[1] alone, %q", name, args[0], key)
	}
	return c.do(s, args)
}
