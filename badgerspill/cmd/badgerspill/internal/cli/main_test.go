package cli

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/frame"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if dir := builtIn.Load(); dir != nil {
		os.RemoveAll(*dir)
	}
	os.Exit(code)
}

func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = frame.Run(t.Context(), New(), args, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

func TestCommandLinesThatCannotBeUnderstood(t *testing.T) {
	for _, row := range []struct {
		name string
		args []string
		want string
	}{
		{"unknown verb", []string{"drian"}, `unknown command "drian"`},
		{"unknown flag", []string{"info", "--rate", "5"}, "unknown flag: --rate"},
		{"no number", []string{"dump", "--from", "many", "a"}, `invalid argument "many" for "--from" flag`},
		{"no directory", []string{"info"}, "name the directory of one database, not 0"},
		{"two directories", []string{"verify", "a", "b"}, "name the directory of one database, not 2"},
		{"prefix that is not hexadecimal", []string{"dump", "-prefix-hex", "xy", "a"}, "--prefix-hex xy: must be hexadecimal digits"},
		{"two prefixes", []string{"dump", "-prefix-hex", "00", "-prefix", "a", "a"}, "--prefix and --prefix-hex: give one of them"},
		{"range that is empty", []string{"dump", "-from", "5", "-to", "4", "a"}, "--from 5: must be at most --to 4"},
		{"plan of nothing", []string{"plan", "--rate", "5"}, "--size: say what the load is, with --rate, --size and --seconds"},
		{"plan of a rate that is none, alone", []string{"plan", "--rate", "-1"}, "--rate -1: must be between 1 and 10000000"},
		{"plan of no writes", []string{"plan", "-rate", "0", "-size", "1", "-seconds", "1"}, "--rate 0: must be between 1 and 10000000"},
		{"plan with a share that is none", []string{"plan", "-rate", "9", "-size", "1", "-seconds", "1", "-overwrites", "NaN"}, "--overwrites NaN: must be between 0 and 0.999"},
		{"plan of too much", []string{"plan", "-rate", "1e7", "-size", "67108864", "-seconds", "1000"}, "--seconds 1000: makes "},
		{"plan of a directory", []string{"plan", "a"}, `unexpected argument "a"`},
		{"copy to nowhere", []string{"salvage", "-copy-only", "a"}, "--copy-only: name the file with --out"},
	} {
		t.Run(row.name, func(t *testing.T) {
			code, stdout, stderr := command(t, row.args...)
			require.Equal(t, frame.Usage, code)
			require.Empty(t, stdout)
			require.Contains(t, stderr, "badgerspill: "+row.want)
			require.Contains(t, stderr, "--help")
		})
	}
}

func TestHelpOfEachCommandShowsAnExampleAndItsFlags(t *testing.T) {
	for verb, flags := range map[string]string{
		"info": "--json", "verify": "--json", "drain": "", "dump": "--prefix --prefix-hex --from --to --no-values",
		"salvage": "--out --copy-only --prefix --yes", "discard": "--yes",
	} {
		code, stdout, _ := command(t, verb, "-h")
		require.Zero(t, code)
		require.Contains(t, stdout, "Examples:\n  badgerspill "+verb+" ")
		for _, flag := range strings.Fields("--spill-dir --vlog-dir --encryption-key-file " + flags) {
			require.Contains(t, stdout, flag+" ", verb)
		}
		code, root, _ := command(t)
		require.Zero(t, code)
		require.Contains(t, root, "\n  "+verb+" ")
	}
}
