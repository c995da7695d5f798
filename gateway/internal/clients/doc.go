// Package clients knows the clients of a gateway: whose key a request has, and what that
// client may still use.
//
// A [Book] has the clients of the configuration. A key is in it as its SHA-256 alone
// ([NewKey]); [Book.Find] returns its client. Before a request's body is read, [Client.Admit]
// looks at the client's own limits: requests a minute, requests at a time, and whether the
// day's money is spent. It returns a [Ticket], or a [Refusal] that says which limit it is and
// when to come back. Once the request is known, [Ticket.Expect] takes the tokens that it may
// use. [Client.Account] is the account of the day, which the attempts of a call reserve from.
//
//	client, ok := book.Find(key)       // else: 401
//	ticket, refusal := client.Admit()  // else: 429, Retry-After
//	defer ticket.Back()                // if it is not served
//	…                                  // read the request
//	refusal = ticket.Expect(tokens)    // else: 429, Retry-After
//	defer func() { ticket.Done(used) }()
//	…                                  // the call, with client.Account() above its own
//	refusal = client.Refused(err)      // has the client's own limit ended it?
//
// Requests and tokens a minute are buckets that hold a minute's worth and fill evenly. A
// request takes what it is expected to use, and at its end what it has used replaces that.
// One that is expected to use more than the bucket holds is served when the bucket is
// full; if it has then used more, that is waited for afterwards.
//
// The account of a day begins at midnight in UTC. It is kept in a journal in a directory,
// which one process has at a time: no attempt is made before its reservation is on the
// disk, one fsync for all who wait at that time. After a process was killed, the next one
// counts what was reserved and not settled as spent on the day of its reservation. If the
// disk is full or gone, attempts are refused (a [StateError]) until it works again: once a
// second the journal is written as a whole.
//
// Where processes share their clients' limits ([Options.Shared]), the account of a day and the
// limits of a minute are those of all processes together, and there is no journal: what was
// spent is in the store. MaxConcurrent is that of each process.
//
// [Book.Reload] takes another configuration at any time. What a client has used belongs to
// its name: it survives a change of its key, of its limits, and its absence for a while.
package clients
