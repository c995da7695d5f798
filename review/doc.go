// Package review keeps calls that wait for a person in files, so that no process has to.
//
// A call that no model could answer ends with a [*llmcall.HumanReviewError], which has all
// that a person needs. [Write] puts it into a file, and the program may end. Somebody looks
// at it, in an hour or in a week; a [Webhook] can tell them. Whoever decides claims the file
// with [Claim], which only one of several can, and passes it to [llmcall.Client.Resume]:
//
//	f, claim, err := review.Claim("review.json")
//	if err != nil {
//		return err // somebody else has it, it is decided, or it has expired
//	}
//	result, err := client.Resume(ctx, f.Review, llmcall.Decision{Verdict: llmcall.VerdictEdit, Text: text})
//	if err != nil {
//		return errors.Join(err, claim.Release()) // somebody may decide again
//	}
//	return claim.Done()
//
// A file holds the conversation, and no API key. It is readable by its user alone.
package review
