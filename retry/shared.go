package retry

import "sync"

// shared keeps one T a key, made on first use, for all callers.
type shared[T any] struct {
	mu    sync.RWMutex
	byKey map[string]*T
}

// maxShared bounds it: keys may come from outside. The ones that are like new
// go when there are too many; if few are, some of the others go too, so that not
// every new key is in search of one to go.
const maxShared = 10_000

func (s *shared[T]) get(key string, make func() *T, likeNew func(*T) bool) *T {
	s.mu.RLock()
	v := s.byKey[key]
	s.mu.RUnlock()
	if v != nil {
		return v
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.byKey[key]; v != nil {
		return v
	}
	if s.byKey == nil {
		s.byKey = map[string]*T{}
	}
	if len(s.byKey) >= maxShared {
		for k, v := range s.byKey {
			if likeNew(v) {
				delete(s.byKey, k)
			}
		}
		for k := range s.byKey {
			if len(s.byKey) <= maxShared*9/10 {
				break
			}
			delete(s.byKey, k)
		}
	}
	v = make()
	s.byKey[key] = v
	return v
}
