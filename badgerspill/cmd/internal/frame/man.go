package frame

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/manual"
)

// manVerb returns the verb that prints the manual page of the command that has it. It is hidden:
// the page is for who packs the command.
func manVerb() *cobra.Command {
	return &cobra.Command{
		Use:    "man",
		Short:  "Print the manual page of this command",
		Hidden: true,
		Args:   NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(Manual(cmd.Root()))
			return err
		},
	}
}

// Manual returns the manual page of a command, made from its verbs, their help and their flags.
// Hidden verbs and cobra's own are left out.
func Manual(root *cobra.Command) []byte {
	var verbs []*cobra.Command
	for _, verb := range root.Commands() {
		if verb.IsAvailableCommand() && verb.Name() != "completion" && verb.Name() != "help" {
			verbs = append(verbs, verb)
		}
	}
	p := manual.New(root.Name(), root.Short)
	p.Section("SYNOPSIS")
	var lines strings.Builder
	for _, verb := range verbs {
		lines.WriteString(verb.UseLine() + "\n")
	}
	lines.WriteString(root.Name() + " completion bash|zsh|fish|powershell\n")
	lines.WriteString(root.Name() + " --version\n")
	p.Block(lines.String())
	p.Section("DESCRIPTION")
	description, _, _ := strings.Cut(root.Long, "\nExit codes:")
	p.Text(description)
	p.Section("COMMANDS")
	for _, verb := range verbs {
		p.Part(verb.UseLine())
		p.Text(verb.Long)
		verb.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Name != "help" && !f.Hidden {
				p.Item(flagItem(f))
			}
		})
		if verb.HasExample() {
			p.Text("Examples:")
			p.Block(verb.Example)
		}
	}
	p.Section("EXIT STATUS")
	for _, exit := range exits {
		p.Item(exit[0], exit[1])
	}
	p.Section("SEE ALSO")
	p.Text("The pages in docs, at https://github.com/badgerspill/badgerspill")
	return p.Bytes()
}

// flagItem returns how a flag is written, and what it does.
func flagItem(f *pflag.Flag) (written, meaning string) {
	value, meaning := pflag.UnquoteUsage(f)
	written = "--" + f.Name
	if f.Shorthand != "" {
		written = "-" + f.Shorthand + ", " + written
	}
	if value != "" {
		written += " " + value
	}
	switch f.DefValue {
	case "", "0", "0s", "false":
	default:
		meaning += " (default " + f.DefValue + ")"
	}
	return written, meaning
}
