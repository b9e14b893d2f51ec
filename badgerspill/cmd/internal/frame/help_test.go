package frame

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

func TestFold(t *testing.T) {
	require.Equal(t, []string{""}, Fold("", 10))
	require.Equal(t, []string{"one two", "three"}, Fold(" one  two\nthree ", 9))
	require.Equal(t, []string{"one two", "three"}, Fold("one two three", 7))
	require.Equal(t, []string{"a", "wordthatislonger", "b"}, Fold("a wordthatislonger b", 5))
	require.Equal(t, []string{"µµ µµ", "µ"}, Fold("µµ µµ µ", 5), "characters, not bytes")
}

func TestWordList(t *testing.T) {
	list := WordList("badger", "badgerspill", "log")
	for typed, want := range map[string]string{
		"":                        "badger badgerspill log",
		"ba":                      "badger badgerspill log",
		"badger,":                 "badger,badgerspill badger,log",
		"badgerspill,l":           "badgerspill,badger badgerspill,log",
		"log,badger,badgerspill":  "log,badger,badgerspill",
		"log,badger,badgerspill,": "",
	} {
		words, directive := list(nil, nil, typed)
		require.Equal(t, want, strings.Join(words, " "), typed)
		require.Equal(t, cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveNoSpace, directive)
	}
}

func verb() *cobra.Command {
	cmd := &cobra.Command{Use: "do DIR", Short: "Do it", Long: "It is done.\n\n  as  it is", Example: "  tool do x",
		RunE: func(*cobra.Command, []string) error { return nil }}
	cmd.Flags().IntP("times", "t", 3, "how many `n`")
	cmd.Flags().Bool("soon", false, strings.TrimSpace(strings.Repeat("a long text ", 10)))
	return cmd
}

func TestUsage(t *testing.T) {
	var out, errs strings.Builder
	require.Zero(t, Run(t.Context(), Root("tool", "Do things", verb()), []string{"do", "-help"}, strings.NewReader(""), &out, &errs))
	require.Equal(t, "It is done.\n\n  as  it is\n\nUsage:\n  tool do DIR [flags]\n\nExamples:\n  tool do x\n\nFlags:\n"+
		"  -h, --help      help for do\n"+
		"      --soon      a long text a long text a long text a long text a long\n"+
		"                  text a long text a long text a long text a long text a\n"+
		"                  long text\n"+
		"  -t, --times n   how many n (default 3)\n", out.String())
	require.Empty(t, errs.String())
}

func TestFlagErrorsAreInTheWordsOfTheCommandLine(t *testing.T) {
	for _, row := range []struct{ args, want string }{
		{"do -son", "unknown flag: -son"},
		{"do -son=1", "unknown flag: -son=1"},
		{"do --son", "unknown flag: --son"},
		{"do -x", "unknown shorthand flag: 'x' in -x"},
		{"do -times 20s", `invalid argument "20s" for "-t, --times" flag: must be a whole number`},
		{"do -times 99999999999999999999", `invalid argument "99999999999999999999" for "-t, --times" flag: the number is out of range`},
		{"do -share a:b", `invalid argument "a:b" for "--share" flag: must be a number`},
		{"do -from -1", `invalid argument "-1" for "--from" flag: must be a whole number, not below 0`},
		{"do -soon=x", `invalid argument "x" for "--soon" flag: must be true or false`},
		{"completion tcsh", `unknown shell "tcsh": name bash, fish, powershell or zsh`},
	} {
		var out, errs strings.Builder
		cmd := verb()
		cmd.Flags().Float64("share", 0, "a share")
		cmd.Flags().Uint64("from", 0, "from here")
		code := Run(t.Context(), Root("tool", "Do things", cmd), strings.Fields(row.args), strings.NewReader(""), &out, &errs)
		require.Equal(t, Usage, code, row.args)
		require.Equal(t, "tool: "+row.want, strings.SplitN(errs.String(), "\n", 2)[0], row.args)
		require.Empty(t, out.String(), row.args)
	}
}

func TestManual(t *testing.T) {
	hidden := &cobra.Command{Use: "child", Hidden: true, Run: func(*cobra.Command, []string) {}}
	page := string(Manual(Root("tool", "Do things", verb(), hidden)))
	require.Contains(t, page, ".SH NAME\ntool \\- Do things\n.SH SYNOPSIS\n.PP\n.nf\ntool do DIR [flags]\ntool completion ")
	require.Contains(t, page, ".SS tool do DIR [flags]\n.PP\nIt is done.\n.PP\n.nf\n  as  it is\n.fi\n")
	require.Contains(t, page, ".TP\n\\fB\\-t, \\-\\-times n\\fR\nhow many n (default 3)\n")
	require.Contains(t, page, ".SH EXIT STATUS\n.TP\n\\fB0\\fR\ndone\n")
	require.NotContains(t, page, "child")
	require.NotContains(t, page, "tool man")
	require.NotContains(t, page, "Exit codes:")
}
