package main

import (
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// typedAgain returns the command as it was typed, for a shell, without the named flags and
// with others added.
func typedAgain(cmd *cobra.Command, args, without []string, added ...string) string {
	words := strings.Fields(cmd.CommandPath())
	for _, arg := range args {
		words = append(words, inShell(arg))
	}
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if slices.Contains(without, f.Name) {
			return
		}
		name := "--" + f.Name
		if f.Name == "out" {
			name = "-o"
		}
		values := []string{f.Value.String()}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			values = list.GetSlice()
		}
		for _, value := range values {
			switch {
			case f.NoOptDefVal != "" && (value == "" || value == f.NoOptDefVal):
				words = append(words, name)
			case f.NoOptDefVal != "":
				words = append(words, name+"="+inShell(value))
			default:
				words = append(words, name, inShell(value))
			}
		}
	})
	return strings.Join(append(words, added...), " ")
}

// plainWord is what a shell takes as it is.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// inShell returns an argument as it is typed.
func inShell(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return shellQuoted(s)
}
