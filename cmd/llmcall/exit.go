package main

import (
	"errors"
	"strings"
	"unicode"

	"llmcall"
)

// The exit codes.
const (
	exitOutput   = 1 // the answer could not be written
	exitUsage    = 2 // wrong usage or configuration; no call was made
	exitInvalid  = 3 // no valid answer after all attempts, or a text that does not pass
	exitCircuit  = 4 // the circuit is open
	exitHuman    = 5 // a person must look
	exitProvider = 6 // the provider failed, permanently or at every attempt, or limits the rate for too long
	exitTime     = 7 // out of time
	exitSpent    = 8 // a ceiling of money or tokens
	exitSignal   = 130
)

const exitCodesHelp = `Exit codes:
  0    a valid answer
  1    the answer could not be written
  2    wrong usage or configuration; no call was made
  3    no valid answer after all attempts, or as a person has decided
  4    the circuit is open
  5    a person must look: the call waits in a file for llmcall resume
  6    the provider failed, permanently or at every attempt, or limits the rate
       for too long
  7    out of time
  8    a ceiling of money or tokens: what the call may spend is spent
  130  interrupted`

func exitCode(err error) int {
	if err == nil {
		return 0
	}
	if errors.Is(err, errInterrupted) {
		return exitSignal
	}
	if _, ok := errors.AsType[*llmcall.HumanReviewError](err); ok {
		return exitHuman
	}
	if errors.Is(err, errOutput) {
		return exitOutput
	}
	if _, ok := errors.AsType[notPassed](err); ok {
		return exitInvalid
	}
	if e, ok := errors.AsType[*batchError](err); ok {
		return e.code
	}
	if _, ok := errors.AsType[storeError](err); ok {
		return exitProvider
	}
	e, ok := errors.AsType[*llmcall.Error](err)
	if !ok {
		return exitUsage
	}
	switch e.Reason {
	case llmcall.ReasonCircuitOpen:
		return exitCircuit
	case llmcall.ReasonProviderFailed, llmcall.ReasonRateLimited, llmcall.ReasonRetryBudgetSpent:
		return exitProvider
	case llmcall.ReasonOutOfTime:
		return exitTime
	case llmcall.ReasonAccountSpent:
		return exitSpent
	case llmcall.ReasonCancelled:
		return exitSignal
	}
	return exitInvalid
}

// printable replaces control characters, by which the text of a provider could
// control the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}
