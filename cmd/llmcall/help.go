package main

import (
	"cmp"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/term"
	"github.com/spf13/cobra"
)

// helpCommand is cobra's command help, which would show the root's help for a command that
// does not exist.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Help about any command",
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			var found []cobra.Completion
			for _, c := range cmd.Root().Commands() {
				if len(args) == 0 && c.IsAvailableCommand() {
					found = append(found, cobra.CompletionWithDesc(c.Name(), c.Short))
				}
			}
			return found, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err == nil && about == cmd.Root() {
				err = noOtherCommand(about, rest)
			}
			if err != nil {
				return err
			}
			return about.Help()
		},
	}
}

// showHelp prints a command's help, as wide as the terminal is.
func showHelp(cmd *cobra.Command, _ []string) {
	text := strings.TrimSpace(cmp.Or(cmd.Long, cmd.Short)) + "\n\n" + cmd.UsageString()
	_, _ = io.WriteString(cmd.OutOrStdout(), fitted(text, widthOf(cmd.OutOrStdout())))
}

// widthOf returns the number of columns of a terminal; 0 for anything else.
func widthOf(w io.Writer) int {
	if out, ok := w.(stdoutWriter); ok {
		w = out.Writer
	}
	file, ok := w.(term.File)
	if !ok {
		return 0
	}
	width, _, _ := term.GetSize(file.Fd()) // 0 if it is not a terminal
	return width
}

// A line of an option, a command, a check or an exit code begins with it, and says after two
// spaces what it is; a list of words has commas. Other indented lines are examples, to be
// copied.
var (
	twoColumns = regexp.MustCompile(`^ *(-[^ ].*?|[a-z0-9][a-z0-9_, -]*?) {2,}\b`)
	wordList   = regexp.MustCompile(`^ +[a-z0-9_]+(, [a-z0-9_]+)*,?$`)
)

// fitted wraps what is wider than a terminal: paragraphs and lists of words as a whole, the
// meaning of an option below itself.
func fitted(text string, width int) string {
	if width < leastText {
		return text
	}
	var fit []string
	lines := strings.Split(text, "\n")
	for len(lines) > 0 {
		n := 1 // lines that belong together
		head, indent := "", ""
		switch column := twoColumns.FindString(lines[0]); {
		case wordList.MatchString(lines[0]):
			for n < len(lines) && strings.HasSuffix(lines[n-1], ",") && wordList.MatchString(lines[n]) {
				n++
			}
			head = lines[0][:len(lines[0])-len(strings.TrimLeft(lines[0], " "))]
			indent = head
		case isProse(lines[0]):
			for n < len(lines) && isProse(lines[n]) {
				n++
			}
		case column != "":
			head, indent = column, strings.Repeat(" ", len(column))
			for n < len(lines) && strings.HasPrefix(lines[n], indent) {
				n++
			}
		}
		if block := lines[:n]; indent == "" && !isProse(lines[0]) || narrow(block, width) {
			fit = append(fit, block...)
		} else {
			fit = append(fit, filled(head, indent, strings.Fields(strings.TrimPrefix(strings.Join(block, " "), head)), width)...)
		}
		lines = lines[n:]
	}
	return strings.Join(fit, "\n")
}

func isProse(line string) bool {
	return line != "" && line[0] != ' ' && !twoColumns.MatchString(line)
}

// narrow reports whether lines are no wider than the terminal.
func narrow(lines []string, width int) bool {
	return !slices.ContainsFunc(lines, func(line string) bool { return ansi.StringWidth(line) > width })
}

// filled writes words into lines. The first begins with head; the others with indent, or
// with less where that would leave them no room.
func filled(head, indent string, words []string, width int) []string {
	var lines []string
	line, empty := head, true
	if 2*len(indent) > width {
		lines, indent = append(lines, strings.TrimRight(head, " ")), strings.Repeat(" ", min(8, width/4))
		line = indent
	}
	for _, word := range words {
		if !empty && ansi.StringWidth(line)+1+ansi.StringWidth(word) > width {
			lines = append(lines, line)
			line, empty = indent, true
		}
		if !empty {
			line += " "
		}
		line += word
		empty = false
	}
	return append(lines, line)
}
