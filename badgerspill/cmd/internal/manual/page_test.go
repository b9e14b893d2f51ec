package manual

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func example() *Page {
	p := New("tool", "do a thing")
	p.Section("DESCRIPTION")
	p.Text("Two lines\nof a paragraph.\n\n.begins with a dot, and it's `quoted` with a \\ and ~/^.\n\n  kept   as\n  it is\n\n  and this\nAfter it.\n")
	p.Part("tool verb [flags]")
	p.Item("-f, --flag n", "a number\nof things")
	p.Block("  tool verb\n  tool verb --flag 5")
	return p
}

func TestPage(t *testing.T) {
	require.Equal(t, `.TH TOOL 1 "" badgerspill badgerspill
.SH NAME
tool \- do a thing
.SH DESCRIPTION
.PP
Two lines
of a paragraph.
.PP
\&.begins with a dot, and it\(aqs \(gaquoted\(ga with a \e and \(ti/\(ha.
.PP
.nf
  kept   as
  it is

  and this
.fi
.PP
After it.
.SS tool verb [flags]
.TP
\fB\-f, \-\-flag n\fR
a number
of things
.PP
.nf
  tool verb
  tool verb \-\-flag 5
.fi
`, string(example().Bytes()))
}

// What a terminal shows of it.
func TestPageAsItIsShown(t *testing.T) {
	groff, err := exec.LookPath("groff")
	if err != nil {
		t.Skip("no groff here")
	}
	cmd := exec.Command(groff, "-man", "-Tascii", "-ww", "-P-cbou")
	cmd.Stdin = strings.NewReader(string(example().Bytes()))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	shown := string(out)
	for _, want := range []string{
		"tool - do a thing", "Two lines of a paragraph.", ".begins with a dot, and it's `quoted` with a \\ and ~/^.",
		"  kept   as\n", "-f, --flag n\n", "a number of things", "  tool verb --flag 5\n",
	} {
		require.Contains(t, shown, want)
	}
	require.NotContains(t, shown, "warning")
}
