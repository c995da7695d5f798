// Package page is a gateway's page for operators: what its endpoints and its last calls
// do, on one screen, as it happens.
//
// A [Ring] observes the calls ([Ring.Observer]) and keeps the last of them, and how each
// model did in the last five minutes. [Handler] shows them, and the endpoints of a
// registry: the state of their circuits, when they failed and why they opened, when the
// next probe is, their pace. It reads what is there when somebody looks, so that a page
// that nobody looks at costs nothing but the ring.
//
// The page is HTML from templates. It is complete without a script; with the package's
// own script it follows a stream of server-sent events, each of which has the rows that
// changed. There is nothing to build and nothing from elsewhere: the content security
// policy admits this origin alone, and no script or style within the page.
//
// Prompts, answers and what complaints say of them are not kept unless they are asked
// for. Endpoints can be forced and reset by whom [Options.Writable] admits, by a form
// that carries a token and comes from this origin.
package page
