package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"llmcall"
	"llmcall/llm"
	"llmcall/review"
	"llmcall/validate"

	"github.com/spf13/cobra"
)

// session is a call of the command, from its first attempt until it has an answer, has
// failed, or waits for a person in a file.
type session struct {
	*ending
	cmd     *cobra.Command
	program *program
	fleet   *ownFleet // of llmcall resume; nil without one
	model   string    // the first model's name
	client  *llmcall.Client
	screen  display
	drawn   batchDisplay // nil but for a row of a batch

	file      string          // the review file; "" while there is none
	temporary bool            // nobody has named the file
	claim     *review.Claimed // held while somebody decides
	expires   time.Time       // of the file
}

// compile makes the session's client.
func (s *session) compile(models []llm.Model, checks []validate.Strategy, cfg llmcall.RetryConfig) error {
	s.model = models[0].Name()
	s.screen = s.display(s.cmd)
	cfg.Observer = func(ctx context.Context, e llmcall.Event) context.Context { return s.screen.observe(ctx, e) }
	var err error
	s.client, err = newClient(models, checks, cfg)
	return err
}

// resume carries out a decision.
func (s *session) resume(e *llmcall.HumanReviewError, d llmcall.Decision) (*llmcall.Result, error) {
	if d.Verdict == llmcall.VerdictHint {
		s.screen = s.display(s.cmd)
	} else {
		s.screen = noDisplay{} // no model is asked
	}
	result, err := s.client.Resume(s.cmd.Context(), e, d)
	s.screen.end(result, err)
	return result, err
}

// handOver gives a call that failed with a HumanReviewError to a person: it writes the review
// file, tells the webhook, or asks at the terminal. It returns how the call ended then.
func (s *session) handOver(e *llmcall.HumanReviewError) (*llmcall.Result, error) {
	for {
		if err := s.keep(e); err != nil {
			return nil, fmt.Errorf("%w (and %w)", e, err)
		}
		if s.person == nil {
			return nil, errors.Join(e, s.release())
		}
		if s.claim == nil {
			_, claim, err := review.Claim(s.file)
			if err != nil {
				return nil, fmt.Errorf("%w (and %w)", e, err)
			}
			s.claim = claim
		}
		result, err := s.ask(e)
		if again, ok := errors.AsType[*llmcall.HumanReviewError](err); ok && again != e {
			e = again
			continue
		}
		return result, err
	}
}

// ask asks the person at the terminal until a decision can be carried out, or is left to
// somebody else.
func (s *session) ask(e *llmcall.HumanReviewError) (*llmcall.Result, error) {
	s.person.show(e, s.file)
	for {
		d, err := s.person.decide(s.cmd.Context(), e)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%w; %w", err, e), s.leave(e))
		}
		if d.Verdict == "" {
			return nil, errors.Join(e, s.leave(e))
		}
		result, err := s.resume(e, d)
		again, handed := errors.AsType[*llmcall.HumanReviewError](err)
		if err == nil || handed && again != e || aborted(err) || s.cmd.Context().Err() != nil {
			return result, err
		}
		s.person.say("That did not do: " + err.Error())
	}
}

// keep writes the review file, and sends the webhook. A file that this session claims is
// replaced, and stays claimed.
func (s *session) keep(e *llmcall.HumanReviewError) error {
	text, err := json.Marshal(s.program.kept())
	if err != nil {
		return fmt.Errorf("%w: %w", errOutput, err)
	}
	f := &review.File{Review: e, Program: text, Expires: s.until()}
	if s.file == "" {
		name := s.save
		if s.person != nil {
			name = "" // it is for as long as the person thinks
		}
		s.temporary = name == ""
		if s.file, err = orTemporary(name); err != nil {
			return fmt.Errorf("%w: %w", errOutput, err)
		}
	}
	if err := review.Write(s.file, f); err != nil {
		s.file = ""
		return fmt.Errorf("%w: %w", errOutput, err)
	}
	s.expires = f.Expires
	if s.webhook != nil {
		if err := s.webhook.Send(s.cmd.Context(), f); err != nil {
			s.warn("nobody was told: " + strings.TrimPrefix(err.Error(), "review: "))
		}
	}
	return nil
}

// warn says something on standard error, beside whatever is drawn there.
func (s *session) warn(text string) {
	if s.drawn != nil {
		s.drawn.say(text)
		return
	}
	fmt.Fprintf(s.cmd.ErrOrStderr(), "llmcall: %s\n", printable(text))
}

// release gives the claim back.
func (s *session) release() error {
	if s.claim == nil {
		return nil
	}
	claim := s.claim
	s.claim = nil
	return claim.Release()
}

// leave leaves the decision to somebody else, in the file of --save if there is one.
func (s *session) leave(e *llmcall.HumanReviewError) error {
	err := s.release()
	if s.save == "" || !s.temporary {
		return err
	}
	before := s.file
	s.file, s.temporary, s.person = "", false, nil
	return errors.Join(err, s.keep(e), os.Remove(before))
}

// finish prints the outcome of a call, stores its conversation, and closes its review file.
func (s *session) finish(messages []llm.Message, result *llmcall.Result, err error, streamed bool) error {
	_, handed := errors.AsType[*llmcall.HumanReviewError](err)
	err = s.report(messages, result, err, streamed)
	if s.claim == nil {
		return err
	}
	decided := err == nil || aborted(err)
	var e error
	switch saved := err == nil && same(s.save, s.file); {
	case !decided || saved: // the conversation is in its place
		e = s.release()
	case s.temporary:
		e = errors.Join(s.release(), os.Remove(s.file))
	default:
		e = s.claim.Done()
	}
	if e != nil && err == nil {
		return fmt.Errorf("%w: %w", errOutput, e)
	}
	if !decided && !handed && s.temporary {
		fmt.Fprintf(s.cmd.ErrOrStderr(), "llmcall: the call waits in %s\n", s.file)
	}
	return err
}

// same reports whether two names are those of one file.
func same(a, b string) bool {
	one, e := os.Stat(a)
	other, err := os.Stat(b)
	return e == nil && err == nil && os.SameFile(one, other)
}

// aborted reports whether a person has ended the call.
func aborted(err error) bool {
	e, ok := errors.AsType[*llmcall.Error](err)
	return ok && e.Reason == llmcall.ReasonAborted
}

// report prints the outcome, and stores the conversation of a valid answer.
func (s *session) report(messages []llm.Message, result *llmcall.Result, err error, streamed bool) error {
	var unsaved error
	stored := ""
	if err == nil && s.save != "" {
		stored = s.save
		if e := writeConversation(s.save, append(slices.Clone(messages), result.Response.Message)); e != nil {
			stored, unsaved = "", fmt.Errorf("%w: %w", errOutput, e)
		}
	}
	d := document{Model: s.model, Practice: s.program.Practice != nil, Conversation: stored}
	_, handed := errors.AsType[*llmcall.HumanReviewError](err)
	if handed && s.file != "" {
		d.Conversation, d.Review = s.file, s.file
		if !s.expires.IsZero() {
			d.Expires = &s.expires
		}
	}
	unwritten := unsaved
	switch {
	case s.output == "json":
		unwritten = cmp.Or(d.write(s.cmd.OutOrStdout(), result, err), unsaved)
	case err == nil && !streamed:
		_, e := io.WriteString(s.cmd.OutOrStdout(), strings.TrimSuffix(result.Text, "\n")+"\n")
		unwritten = cmp.Or(e, unsaved)
	}
	errs := s.cmd.ErrOrStderr()
	if answer := lastAnswer(err); answer != "" && s.output == "text" && !s.trace && !streamed && !aborted(err) && s.person == nil {
		fmt.Fprintf(errs, "llmcall: the last answer began:\n%s\n", strings.Join(firstLines(answer), "\n"))
	}
	if d.Review != "" {
		fmt.Fprintf(errs, "llmcall: the conversation is in %s\nllmcall: to decide%s (--accept, --edit, --hint or --abort): llmcall resume %[1]s\nllmcall: to continue it: llmcall call --continue %[1]s PROMPT\n",
			d.Review, when(s.expires))
	}
	if err == nil {
		err = unwritten
	}
	if err != nil && unsaved != nil && err != unsaved {
		err = fmt.Errorf("%w (and %w)", err, unsaved)
	}
	return err
}
