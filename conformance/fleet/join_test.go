package fleet

import "llmcall/endpoint"

// join opens the fleet at a URL.
func join(url string, c endpoint.Config) (*endpoint.Registry, func(), error) {
	r, err := endpoint.NewRegistry(c)
	return r, func() {}, err
}
