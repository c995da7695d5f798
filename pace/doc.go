// Package pace holds the requests of many callers to the rate and the number at a
// time that a provider accepts.
//
// All callers of one endpoint share a [Pacer]. As long as nothing is known of the
// provider's limits, a Pacer is free: a request costs a few nanoseconds and nobody
// waits. It may know the following; where several of them make a request wait, the
// longest wait counts:
//
//   - A told time (Retry-After): nobody goes before it. The first turn after it
//     is spread by a tenth of it, a second at most; the others go at the learned
//     rate. A time of two minutes or less is never shortened. During a longer
//     one, one request a minute goes to see whether it still holds.
//   - A told window (x-ratelimit-*): so many requests or tokens remain until it
//     begins again. What is in flight counts against them. A remaining count
//     alone keeps nobody away for more than a minute, and a provider that always
//     says 0, and answers, is not believed.
//   - A learned rate, from the first refusal on: two requests a second, doubling
//     each second until one that was sent at the new rate is refused. That, and
//     each later one, is an episode: it cuts the rate to what was accepted a
//     second, and to nine tenths of itself at most. Refusals of requests that
//     were sent before the last cut say nothing new. Between episodes the rate
//     grows slowly, and after a calm it doubles: 40 requests, but at least 8 s and
//     at most 90 s. The length of an answer does not matter. When nobody has had
//     to wait for a minute, the rate is gone.
//   - Refusals that have nothing to do with our rate (a busy region, a model that
//     all share): what is refused at a rate well below what was accepted before is
//     refused whatever the rate. The share of these is learned, and refusals in
//     proportion to it are not an episode; clearly more than that are one.
//   - A configured limit ([Limits]).
//   - Overload: a provider that is short of capacity is helped by fewer requests
//     at a time. An episode halves those in flight; each round of answers adds
//     one; after a minute without overload the limit is gone.
//
// Requests that must wait are in one queue, and its head goes at the rate of the
// moment: a turn that was given out ahead would keep an old rate. Clients take
// turns; of one client's requests, those of calls that have begun go first.
// Waiting holds nothing but the place in the queue.
//
// A request takes a turn by [Pacer.Try] or [Pacer.Wait]. What the provider did is
// told by [Pacer.Accepted], [Pacer.Refused] or [Pacer.Failed], and the end of its
// body by [Pacer.Done]:
//
//	turn, err := p.Wait(ctx, pace.Cost{Tokens: 2000})
//	if err != nil {
//		return err
//	}
//	defer p.Done(turn)
//	…
//	p.Accepted(turn, told)
//
// A Pacer starts no goroutine to wait, and has one timer while somebody waits.
package pace
