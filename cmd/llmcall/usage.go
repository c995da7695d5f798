package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"llmcall/internal/nearest"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// noArguments is cobra.NoArgs, whose error would call an argument a command.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%s takes no arguments, got %q", cmd.Name(), strings.Join(args, " "))
	}
	return nil
}

// noOtherCommand returns an error for an argument of the root, which is a command
// that does not exist.
func noOtherCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() && c.Name() != "help" {
			names = append(names, c.Name())
		}
	}
	return unknown("command", fmt.Sprintf("%q", args[0]), args[0], names, "the commands are "+strings.Join(names, ", "))
}

// flagError returns the error of a flag in the form of all others. For an unknown
// flag it names the nearest one.
func flagError(cmd *cobra.Command, err error) error {
	if e, ok := errors.AsType[*pflag.NotExistError](err); ok {
		list := cmd.CommandPath() + " --help lists the flags"
		if letters := e.GetSpecifiedShortnames(); letters != "" {
			return unknown("flag", "-"+e.GetSpecifiedName(), "", nil, list)
		}
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, "--"+f.Name) })
		given := "--" + e.GetSpecifiedName()
		return unknown("flag", given, given, names, list)
	}
	if e, ok := errors.AsType[*pflag.ValueRequiredError](err); ok {
		return fmt.Errorf("--%s must have a value, got nothing", e.GetSpecifiedName())
	}
	if e, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		return fmt.Errorf("--%s must be %s, got %q", e.GetFlag().Name, takes(e.GetFlag().Value.Type()), e.GetValue())
	}
	return err
}

// noEmptyValues returns an error for a flag whose value is empty, as a script passes it from
// a variable that is not set: a call without the schema, the model or the file that was meant
// would end with 0. --system may be empty, instead of the file's; --practice has a value or none.
func noEmptyValues(cmd *cobra.Command, _ []string) error {
	var empty string
	cmd.Flags().Visit(func(f *pflag.Flag) {
		values := []string{f.Value.String()}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			values = list.GetSlice()
		}
		isText := f.Value.Type() == "string" || f.Value.Type() == "stringArray"
		if isText && f.Name != "system" && slices.ContainsFunc(values, func(v string) bool { return strings.TrimSpace(v) == "" }) {
			empty = f.Name
		}
	})
	if empty != "" {
		return fmt.Errorf("--%s must have a value, got an empty string", empty)
	}
	return nil
}

// unknown returns the error of an unknown name, with the nearest of names, or with
// a hint if none is near.
func unknown(what, label, given string, names []string, hint string) error {
	if question := nearest.Question(given, names); question != "" {
		return fmt.Errorf("unknown %s %s%s", what, label, question)
	}
	return fmt.Errorf("unknown %s %s; %s", what, label, hint)
}

// formats are what --output takes.
var formats = []string{"text", "json"}

// outputFormat returns the error of an --output that is not known.
func outputFormat(output string) error {
	if !slices.Contains(formats, output) {
		return fmt.Errorf("--output must be text or json, got %s", nearest.Shown(output, formats))
	}
	return nil
}

// takes returns what a flag of a type must be.
func takes(kind string) string {
	switch kind {
	case "bool":
		return "true or false"
	case "int":
		return "a whole number"
	case "uint64":
		return "a whole number of at least 0"
	}
	return "a " + kind
}
