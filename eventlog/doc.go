// Package eventlog writes calls to a log: a line at the end of each call, and at the level
// DEBUG a line for each wait and each attempt.
//
//	INFO call call=7 name=invoices reason=valid model=openai/gpt-6-luna attempts=2 duration=3.1s usage.input_tokens=730 usage.output_tokens=45 cost=0.0021
//
// A call that ends without a valid answer is a line at the level WARN, with the reason, the
// last error and the names of the checks that complained. The line is the place to see what
// all attempts of a call have used together.
//
// No line has a text of a prompt, an answer or a complaint, unless [Options.Content] is set.
// Keys are hidden in every text.
package eventlog
