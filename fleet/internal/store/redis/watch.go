package redis

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"llmcall/backoff"
	"llmcall/fleet/internal/store"
)

var resubscribe = backoff.Exponential{Initial: 100 * time.Millisecond, Max: 5 * time.Second, Jitter: backoff.EqualJitter}

// Watch implements [store.Store]. told is called on one goroutine, again on others. Neither may
// wait: an exchange on the same connection waits with it.
func (s *Store) Watch(key string, told func(message string), again func()) (stop func()) {
	ctx, cancel := context.WithCancel(s.ctx)
	go func() {
		defer cancel()
		for lost := 0; ctx.Err() == nil; lost++ {
			subscribed, err := s.receive(ctx, store.Channel(key), told, again)
			if subscribed {
				lost = 0
			}
			if ctx.Err() == nil {
				s.log.Debug("fleet: subscription", "key", key, "error", err)
			}
			if e, told := errors.AsType[*rueidis.RedisError](err); told && strings.HasPrefix(e.Error(), "NOPERM") {
				s.mute.Do(func() {
					s.log.Warn("llmcall: the fleet's store does not let this process subscribe: what has changed is known within a second, and not at once", "error", err)
				})
			}
			select {
			case <-time.After(resubscribe.Delay(lost)):
			case <-ctx.Done():
			}
		}
	}()
	return cancel
}

// receive passes messages on until the connection is lost or ctx ends. It returns whether it
// has subscribed.
func (s *Store) receive(ctx context.Context, channel string, told func(string), again func()) (bool, error) {
	client, err := s.connect(ctx)
	if err != nil {
		return false, err
	}
	subscribe := client.B().Subscribe().Channel(channel).Build()
	if s.shards() {
		subscribe = client.B().Ssubscribe().Channel(channel).Build()
	}
	var subscribed atomic.Bool
	hooked := rueidis.WithOnSubscriptionHook(ctx, func(e rueidis.PubSubSubscription) {
		// This runs where answers are read.
		if (e.Kind == "subscribe" || e.Kind == "ssubscribe") && ctx.Err() == nil {
			subscribed.Store(true)
			go again()
		}
	})
	hooked = rueidis.WithOnReceiveReturnHook(hooked, func(err error, c rueidis.CommandClient) error {
		if ctx.Err() != nil && s.ctx.Err() == nil && subscribed.Load() {
			s.unsubscribe(c, channel)
		}
		return err
	})
	err = client.Receive(hooked, subscribe, func(m rueidis.PubSubMessage) {
		if ctx.Err() == nil {
			told(m.Message)
		}
	})
	return subscribed.Load(), s.explain(err)
}

// unsubscribe tells the server, which would go on sending.
func (s *Store) unsubscribe(c rueidis.CommandClient, channel string) {
	ctx, cancel := context.WithTimeout(s.ctx, s.option.ConnWriteTimeout)
	defer cancel()
	if s.shards() {
		c.Do(ctx, c.B().Sunsubscribe().Channel(channel).Build())
		return
	}
	c.Do(ctx, c.B().Unsubscribe().Channel(channel).Build())
}
