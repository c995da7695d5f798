package fleet

import (
	"time"

	"llmcall/endpoint"
	"llmcall/fleet"
)

// join opens the fleet at a URL, "" for none, and tells of its connection.
func join(url string, c endpoint.Config, r *reporter) (*endpoint.Registry, func(), error) {
	if url == "" {
		endpoints, err := endpoint.NewRegistry(c)
		return endpoints, func() {}, err
	}
	f, err := fleet.Open(url, fleet.Options{Endpoints: c})
	if err != nil {
		return nil, nil, err
	}
	unwatch := watch(f, r)
	return f.Endpoints(), func() {
		unwatch()
		_ = f.Close()
	}, nil
}

// watch tells of a fleet's connection until it is told to stop.
func watch(f *fleet.Fleet, r *reporter) (stop func()) {
	ending, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		look := time.NewTicker(5 * time.Millisecond)
		defer look.Stop()
		kind := ""
		for {
			select {
			case <-look.C:
			case <-ending:
				return
			}
			now := lost
			if f.Status().Connected {
				now = connected
			}
			if now != kind {
				kind = now
				r.tell(event{Kind: kind, At: time.Now()})
			}
		}
	}()
	return func() {
		close(ending)
		<-ended
	}
}
