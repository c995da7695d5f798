package main

import "llmcall/endpoint"

func registryAlone(string) (*endpoint.Registry, func(), error) {
	r, err := endpoint.NewRegistry(endpoint.Config{})
	return r, func() {}, err
}

func registryOfFleet(address string) (*endpoint.Registry, func(), error) {
	return registryAlone(address)
}

func openFleet(address string) (func(func() error) error, func(), error) {
	return openAlone(address)
}
