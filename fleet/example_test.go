package fleet_test

import (
	"fmt"
	"time"

	"llmcall"
	"llmcall/account"
	"llmcall/endpoint"
	"llmcall/fleet"
)

// All processes that open the same store have one circuit, one rate and one account for each
// endpoint.
func ExampleOpen() {
	f, err := fleet.Open("redis://127.0.0.1:6379/0", fleet.Options{Only: []string{"openai/*"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer f.Close()
	var cfg llmcall.RetryConfig
	cfg.Endpoints = f.Endpoints()
}

// An address that is none is an error; a server that can't be reached is not.
func ExampleOpen_address() {
	_, err := fleet.Open("localhost:6379", fleet.Options{})
	fmt.Println(err)
}

// All processes of the fleet together spend ten dollars a day, by the calls that have the
// account.
func ExampleFleet_Account() {
	f, err := fleet.Open("redis://127.0.0.1:6379/0", fleet.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer f.Close()
	var cfg llmcall.RetryConfig
	cfg.Account = f.Account("summaries", endpoint.Amount{Nanos: 10 * account.Dollar}, time.UTC)
}
