package main

import (
	"context"
	"time"

	"github.com/redis/rueidis"
	"github.com/sony/gobreaker/v2"
)

// A shared is the least that [gobreaker.SharedDataStore] can be over Redis: a command for each of its
// methods. It favours the breaker: an unlock does not look whose lock it is, and who finds
// the lock taken tries again after a millisecond, where the breaker itself would sleep for
// half a second.
type shared struct{ rueidis.Client }

// lockExpiry is how long a lock is kept whose owner has died; lockPatience is how long Lock waits for one.
const (
	lockExpiry   = 5 * time.Second
	lockPatience = 2 * time.Second
)

func (s shared) Lock(name string) error {
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		err := s.Do(context.Background(), s.B().Set().Key(name).Value("1").Nx().Px(lockExpiry).Build()).Error()
		if !rueidis.IsRedisNil(err) || time.Since(began) > lockPatience {
			return err
		}
	}
}

func (s shared) Unlock(name string) error {
	return s.Do(context.Background(), s.B().Del().Key(name).Build()).Error()
}

func (s shared) GetData(name string) ([]byte, error) {
	data, err := s.Do(context.Background(), s.B().Get().Key(name).Build()).AsBytes()
	if rueidis.IsRedisNil(err) {
		return nil, nil
	}
	return data, err
}

func (s shared) SetData(name string, data []byte) error {
	return s.Do(context.Background(), s.B().Set().Key(name).Value(rueidis.BinaryString(data)).Build()).Error()
}

func openGobreaker(address string) (func(func() error) error, func(), error) {
	client, err := connect(address)
	if err != nil {
		return nil, nil, err
	}
	breaker, err := gobreaker.NewDistributedCircuitBreaker[struct{}](shared{client}, gobreaker.Settings{
		Name: "bench", ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= 5 },
	})
	if err != nil {
		client.Close()
		return nil, nil, err
	}
	return func(work func() error) error {
		_, err := breaker.Execute(func() (struct{}, error) { return struct{}{}, work() })
		return err
	}, client.Close, nil
}
