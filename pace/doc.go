// Package pace holds the requests of many callers to the rate, and to the number in
// flight, that a provider accepts.
//
// All callers of one endpoint share a [Pacer], which gives each request a [Turn]. As
// long as nothing is known about the provider's limits, a Pacer is free: a turn costs a
// few nanoseconds and nobody waits. Otherwise a request waits for the longest of the
// following that apply:
//
//   - A told time (Retry-After): no request is sent before it is over. The first turn
//     after it is delayed at random by up to a tenth of it, at most a second; the
//     others follow at the learned rate. A time of up to two minutes is never
//     shortened. During a longer one, one request a minute tests whether it still
//     holds.
//   - A told window (x-ratelimit-*): so many requests or tokens remain until the window
//     begins again. Requests in flight count against them, unless they are more than a
//     window of a second or less, with a learned rate, has room for. A remaining count alone
//     delays nobody for more than a minute, and a provider that always says 0 but
//     answers is not believed. A window of a single request and of half a second to a
//     second is left to the learned rate, if there is one.
//   - A learned rate, after the first refusal. It starts at two requests a
//     second, or at half of what comes back by a window of which nothing was
//     left, and doubles each second; if a wait of at most a second was told
//     since, only while requests wait for the rate. The refusal of a request that
//     was sent at the current rate begins an episode: the rate is cut to what was
//     accepted a second, and to at most nine tenths (above 15 a second, 95 %) of
//     itself. Refusals of requests that were sent before the last cut do not
//     count. Between episodes the rate grows slowly; after a calm of 40 requests,
//     but at least 8 s and at most 90 s, it doubles every 5 s. After a refusal
//     that tells everybody to wait, both are slower, and above 15 a second the
//     calm is 45 s for each second of the wait. The length of answers does not
//     matter. The rate is dropped when nobody has had to wait for a minute.
//   - A configured limit ([Limits]).
//   - Overload: a provider that is short of capacity needs fewer requests in flight. An
//     episode halves their number; each round of answers adds one; after a minute
//     without overload there is no limit.
//
// Some refusals do not depend on our rate (a busy region, a model that all customers
// share): those of requests sent well below a rate that was accepted before. Their
// share is learned, and only clearly more refusals than that share are an episode.
//
// A turn is of use only if it leaves the caller time for an answer ([Cost.End]). How long
// answers take is known from the last 16, from turn to end of body; one that the end of the
// caller's time cut off counts as longer. Under an overload that lasts, turns go to those who
// can still be answered, and the others are refused at once.
//
// Requests that must wait are in one queue, whose head goes at the current rate: turns
// given out in advance would keep an old rate. Clients take turns; of one client's
// requests, those of calls that have begun go first.
//
// # Several processes
//
// Pacers of several processes can share one rate ([Pacer.Join]), through peers that carry a
// [Report] of each to the others and tell each what all know ([Pacer.Follow]). The law is the
// same, with these differences:
//
//   - The learned rate is that of all processes together. The first of them that has an episode
//     cuts it for all (a new [Rate.Epoch]); between episodes each lets it grow alike.
//   - The rate allows turns, which are numbered, and all processes count them together. A process
//     has a part of the interval [0, 1), and takes the turn k if the fraction of k times the golden
//     ratio falls into it: so each has its part of the turns, evenly spread, and they send one
//     after the other, as one process would. It saves at most one turn.
//   - What was accepted is estimated from the rate of the last requests and the share of them that
//     was refused; those of other processes count as accepted, unless many of its own were refused.
//   - A told time holds for all. They return at the shared rate, without a delay by chance, and
//     of all together one request a minute tests a long one.
//   - Of a told window a process uses its part. One that begins again within a second is left to
//     the learned rate.
//   - Configured limits are leased: a process uses what it was lent ([Pacer.Lend]), for a fifth of
//     a second or as long as it lasts, and goes on with its part of the limits after 5 ms without a
//     lease. The number in flight is each process' own.
//
// If the peers fall silent, each goes on alone with its last part, which grows and is cut by its
// own requests.
//
// A request takes a turn with [Pacer.Try] or [Pacer.Wait]. [Pacer.Accepted],
// [Pacer.Refused] or [Pacer.Failed] report what the provider did, and [Pacer.Done] the
// end of the response's body:
//
//	turn, err := p.Wait(ctx, pace.Cost{Tokens: 2000})
//	if err != nil {
//		return err
//	}
//	defer p.Done(turn)
//	…
//	p.Accepted(turn, told)
//
// A Pacer starts no goroutines, and has one timer while somebody waits.
package pace
