package frame

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/text"
)

// Columns is how wide a help text is at most: a terminal that nobody has made wider.
const Columns = 80

// exits are the codes that every command exits with, and what they say.
var exits = [][2]string{
	{"0", "done"},
	{"1", "it failed, or what it checked is not right"},
	{"2", "called wrongly, or it could not begin: another process has the database open, for instance. Nothing was changed"},
	{"130", "interrupted; a second interrupt ends it at once"},
}

// about is the help of the command itself.
func about(short string) string {
	var b strings.Builder
	for _, line := range Fold(short+". Results go to standard output, progress and errors to standard error. Flags may be written with one dash or two.", Columns) {
		b.WriteString(line + "\n")
	}
	b.WriteString("\nExit codes:\n")
	for _, exit := range exits {
		for i, line := range Fold(exit[1], Columns-7) {
			if i > 0 {
				exit[0] = ""
			}
			fmt.Fprintf(&b, "  %-3s  %s\n", exit[0], line)
		}
	}
	return b.String()
}

// Fold breaks a text of one paragraph into lines of at most width characters. A longer word has a
// line of its own.
func Fold(paragraph string, width int) (lines []string) {
	var line string
	for _, word := range strings.Fields(paragraph) {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width:
			lines, line = append(lines, line), word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}

// usage shows how a command is called, with examples, verbs and flags, as cobra does, within the
// columns of a terminal.
func usage(cmd *cobra.Command) error {
	t := text.NewWriter(cmd.OutOrStderr())
	t.Printf("Usage:\n  %s\n", cmd.UseLine())
	if cmd.HasAvailableSubCommands() {
		t.Printf("  %s [command]\n", cmd.CommandPath())
	}
	if cmd.HasExample() {
		t.Printf("\nExamples:\n%s\n", cmd.Example)
	}
	if cmd.HasAvailableSubCommands() {
		t.Printf("\nAvailable Commands:\n")
		for _, verb := range cmd.Commands() {
			if !verb.IsAvailableCommand() && verb.Name() != "help" {
				continue
			}
			name := verb.Name()
			for _, line := range Fold(verb.Short, Columns-3-verb.NamePadding()) {
				t.Printf("  %-*s %s\n", verb.NamePadding(), name, line)
				name = ""
			}
		}
	}
	if cmd.HasAvailableLocalFlags() {
		t.Printf("\nFlags:\n%s", cmd.LocalFlags().FlagUsagesWrapped(Columns))
	}
	if cmd.HasAvailableSubCommands() {
		t.Printf("\n\"%s [command] --help\" says more about a command.\n", cmd.CommandPath())
	}
	return t.Err()
}

// shells says for each shell how its completion is loaded: now, and always.
var shells = map[string][2]string{
	"bash":       {"source <(%[1]s completion bash)", "%[1]s completion bash > /etc/bash_completion.d/%[1]s"},
	"zsh":        {"source <(%[1]s completion zsh)", `%[1]s completion zsh > "${fpath[1]}/_%[1]s"`},
	"fish":       {"%[1]s completion fish | source", "%[1]s completion fish > ~/.config/fish/completions/%[1]s.fish"},
	"powershell": {"%[1]s completion powershell | Out-String | Invoke-Expression", "the same line in the file that $PROFILE names"},
}

// shorterCompletion gives the verb that cobra makes for completion a help that fits a terminal. It
// comes when the output is known, which the verb keeps.
func shorterCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, verb := range root.Commands() {
		if verb.Name() != "completion" {
			continue
		}
		// cobra shows the help for a shell that it does not know, and calls that done
		verb.Args = func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return &UsageError{fmt.Errorf("unknown shell %q: name bash, fish, powershell or zsh", args[0])}
			}
			return nil
		}
		verb.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		for _, shell := range verb.Commands() {
			if lines, ok := shells[shell.Name()]; ok {
				shell.Long = fmt.Sprintf("Print the script for "+shell.Name()+" that completes verbs, flags and their values.\n\nIn this shell:\n\n  "+
					lines[0]+"\n\nIn every new one:\n\n  "+lines[1], root.Name())
			}
		}
	}
}
