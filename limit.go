package llmcall

import "llmcall/failure"

// raise sets the token limit of the next request after an answer that was cut off.
func (c *call) raise(used int64) {
	c.maxTokens = larger(c.maxTokens, used)
	if c.ceiling > 0 {
		c.maxTokens = min(c.maxTokens, c.ceiling)
	}
}

// lower takes back the raised token limit of a request that was refused because of it:
// to the model's maximum, if the refusal names one, else to the caller's limit. Without
// that, the refusal would end the call, and hide that the answer was cut off. It reports
// whether the request is to be sent again.
func (c *call) lower(err error, sent int) bool {
	given := c.given
	if sent == given {
		return false
	}
	maximum, ok := failure.MaxTokens(err, given, sent)
	if !ok || maximum >= sent || maximum == 0 && given == 0 {
		return false
	}
	if maximum == 0 {
		c.maxTokens, c.ceiling = given, given
	} else {
		c.maxTokens, c.ceiling = maximum, maximum
	}
	return true
}
