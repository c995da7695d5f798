package fleet

import (
	"fmt"
	"testing"
	"time"

	"llmcall/endpoint"
	"llmcall/internal/servers"
)

// As many endpoints as a registry keeps do not make an exchange that a store can't answer in
// time.
func TestManyEndpointsInRedis(t *testing.T) {
	server := servers.Redis(t)
	f, err := Open(server.URL, Options{Secret: secretOfTests, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var held []*endpoint.Endpoint
	for i := range 10_000 {
		e := f.Endpoints().Get(endpoint.Key{Model: fmt.Sprint("acme/", i)})
		e.Circuit(endpoint.Options{})
		held = append(held, e)
	}
	lost := 0
	for range 50 {
		time.Sleep(100 * time.Millisecond)
		if s := f.Status(); !s.Connected {
			lost++
		}
	}
	if lost > 10 { // the machine may be busy; it was lost in 48
		t.Errorf("the store was lost in %d of 50 looks: %+v", lost, f.Status())
	}
	if held[0].Circuit(endpoint.Options{}) == nil {
		t.Error("no circuit")
	}
}
