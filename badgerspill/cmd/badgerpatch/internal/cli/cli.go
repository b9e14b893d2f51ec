package cli

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/badgerpatch/internal/badgercopy"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/badgerpatch/internal/mend"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/manual"
)

// The codes to exit with.
const (
	done   = 0
	failed = 1
	usage  = 2
)

const short = "Make a mended copy of Badger " + badgercopy.Version

const about = `Badgerpatch makes a mended copy of Badger ` + badgercopy.Version + ` in DIR, out of the module
cache, and prints how a module uses it. DIR must be absent, empty, or a copy
that nobody has changed. Plain Badger and the mended one take turns on the same
databases.
`

const usageLines = `  badgerpatch [flags] DIR    make the copy
  badgerpatch -drop          have the module here use Badger as released
  badgerpatch -list          tell what is mended
  badgerpatch -version       tell its version and Badger's
`

// flags are those of making a copy, and what they do.
var flags = [][2]string{
	{"-replace", "have the module here use the copy: a replace line in go.mod"},
	{"-only mends", "of all mends only these, separated by commas"},
	{"-without mends", "all mends but these"},
	{"-h, -help", "this text"},
}

const exits = `It exits with 0 when it is done, 1 when it failed and changed nothing, and 2
when it was called wrongly.
`

func help() string {
	var b strings.Builder
	b.WriteString(about + "\nUsage:\n" + usageLines + "\nFlags:\n")
	for _, f := range flags {
		fmt.Fprintf(&b, "  %-17s %s\n", f[0], f[1])
	}
	b.WriteString("\n" + exits)
	return b.String()
}

// page returns the manual page.
func page() []byte {
	p := manual.New("badgerpatch", short)
	p.Section("SYNOPSIS")
	p.Block(usageLines)
	p.Section("DESCRIPTION")
	p.Text(about)
	p.Section("OPTIONS")
	for _, f := range flags {
		p.Item(f[0], f[1])
	}
	p.Section("EXIT STATUS")
	p.Text(exits)
	p.Section("SEE ALSO")
	p.Text("The page mended.md in docs, at https://github.com/badgerspill/badgerspill")
	return p.Bytes()
}

// version tells what the command was built from, and the Badger that it mends.
func version() string {
	own := "(devel)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		own = info.Main.Version
	}
	return "badgerpatch version " + own + " for Badger " + badgercopy.Version
}

type command struct {
	replace, drop, list bool
	version, man        bool
	only, without       string
	dir                 string
}

// Main runs the command and returns the code to exit with.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stdout, help())
		return done
	}
	if err != nil {
		fmt.Fprintf(stderr, "badgerpatch: %v\nsee badgerpatch -help\n", err)
		return usage
	}
	if err := c.run(ctx, stdout); err != nil {
		fmt.Fprintf(stderr, "badgerpatch: %v\n", err)
		return failed
	}
	return done
}

func parse(args []string) (command, error) {
	var c command
	f := flag.NewFlagSet("badgerpatch", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.BoolVar(&c.replace, "replace", false, "")
	f.BoolVar(&c.drop, "drop", false, "")
	f.BoolVar(&c.list, "list", false, "")
	f.BoolVar(&c.version, "version", false, "")
	f.BoolVar(&c.man, "man", false, "") // the manual page; for who packs the command
	f.StringVar(&c.only, "only", "", "")
	f.StringVar(&c.without, "without", "", "")
	var dirs []string
	for { // flags may come after DIR, too
		if err := f.Parse(args); err != nil {
			return c, err
		}
		if f.NArg() == 0 {
			break
		}
		dirs = append(dirs, f.Arg(0))
		args = f.Args()[1:]
	}
	making := c.replace || c.only != "" || c.without != "" || len(dirs) > 0
	alone := 0
	for _, asked := range []bool{c.list, c.drop, c.version, c.man} {
		if asked {
			alone++
		}
	}
	switch {
	case alone > 1, alone == 1 && making:
		return c, errors.New("-list, -drop and -version stand alone")
	case alone == 1:
		return c, nil
	case len(dirs) == 1 && dirs[0] == "help":
		return c, flag.ErrHelp
	case len(dirs) != 1 || dirs[0] == "":
		return c, fmt.Errorf("name one directory, not %d", len(dirs))
	}
	empty := ""
	f.Visit(func(f *flag.Flag) {
		if (f.Name == "only" || f.Name == "without") && len(names(f.Value.String())) == 0 {
			empty = f.Name
		}
	})
	if empty != "" {
		return c, fmt.Errorf("-%s names no mend", empty)
	}
	c.dir = dirs[0]
	_, err := c.mends()
	return c, err
}

func (c command) mends() ([]mend.Mend, error) {
	return mend.Select(names(c.only), names(c.without))
}

// names returns the names of a list with commas.
func names(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}

func (c command) run(ctx context.Context, stdout io.Writer) error {
	switch {
	case c.version:
		fmt.Fprintln(stdout, version())
		return nil
	case c.man:
		_, err := stdout.Write(page())
		return err
	case c.list:
		for _, m := range mend.All() {
			fmt.Fprintf(stdout, "%-12s %s\n", m.Name, m.Short)
		}
		return nil
	case c.drop:
		return drop(ctx, stdout)
	}
	mends, err := c.mends()
	if err != nil {
		return err
	}
	dir, err := filepath.Abs(c.dir)
	if err != nil {
		return err
	}
	user, err := findModule(ctx, c.replace)
	if err != nil {
		return err
	}
	release, err := badgercopy.Find(ctx)
	if err != nil {
		return err
	}
	if err := badgercopy.Make(release, mends, dir); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s: Badger %s, mended: %s\n", c.dir, badgercopy.Version, strings.Join(mend.Names(mends), ", "))
	if c.replace {
		lines, err := user.replaced(ctx)
		edits := []string{"mod", "edit"}
		for _, old := range lines {
			edits = append(edits, "-dropreplace="+old)
		}
		if err == nil {
			_, err = badgercopy.Go(ctx, user.dir, append(edits, "-replace="+versioned+"="+user.pathTo(dir))...)
		}
		if err != nil {
			return fmt.Errorf("the copy is made, but go.mod was not changed: %w", err)
		}
		fmt.Fprintf(stdout, "%s uses it. To go back: badgerpatch -drop\n", filepath.Join(user.dir, "go.mod"))
		return nil
	}
	where, path := "mod", user.pathTo(dir)
	if user.work != "" {
		where, path = "work", dir
	}
	fmt.Fprintf(stdout, "to use it:  go %s edit -replace=%s=%s\nto go back: go %s edit -dropreplace=%s\n", where, versioned, path, where, versioned)
	return nil
}

// drop takes the lines out that replace Badger by a copy, whatever else is in go.mod.
func drop(ctx context.Context, stdout io.Writer) error {
	user, err := here(ctx)
	if err != nil {
		return err
	}
	if user.dir == "" {
		return errNoModule
	}
	lines, err := user.replaced(ctx)
	if err != nil {
		return err
	}
	for _, old := range lines {
		if _, err := badgercopy.Go(ctx, user.dir, "mod", "edit", "-dropreplace="+old); err != nil {
			return err
		}
	}
	gomod := filepath.Join(user.dir, "go.mod")
	switch {
	case user.work != "":
		fmt.Fprintf(stdout, "%s has no copy of Badger any more; for the workspace: go work edit -dropreplace=%s\n", gomod, versioned)
	case len(lines) == 0:
		fmt.Fprintf(stdout, "%s has no copy of Badger: nothing was changed\n", gomod)
	default:
		fmt.Fprintf(stdout, "%s uses Badger as released. If go.sum was tidied meanwhile: go mod tidy; if it is vendored: go mod vendor\n", gomod)
	}
	return nil
}

const versioned = badgercopy.Module + "@" + badgercopy.Version

// module is the module that the command was called in, if any.
type module struct {
	dir  string // "" for none
	work string // the go.work that is in force, "" for none
}

var errNoModule = errors.New("the current directory is in no module: there is no go.mod to change")

func here(ctx context.Context) (module, error) {
	dir, err := os.Getwd()
	if err != nil {
		return module{}, err
	}
	gomod, err := badgercopy.Env(ctx, dir, "GOMOD")
	if err != nil {
		return module{}, err
	}
	var m module
	if gomod != "" && gomod != os.DevNull {
		m.dir = filepath.Dir(gomod)
	}
	if m.work, err = badgercopy.Env(ctx, dir, "GOWORK"); m.work == "off" {
		m.work = ""
	}
	return m, err
}

// replaced returns what go.mod has on the left of lines that replace Badger by a copy, or by a
// directory that is gone.
func (m module) replaced(ctx context.Context) (old []string, err error) {
	out, err := badgercopy.Go(ctx, m.dir, "mod", "edit", "-json")
	if err != nil {
		return nil, err
	}
	var gomod struct {
		Replace []struct {
			Old, New struct{ Path, Version string }
		}
	}
	if err := json.Unmarshal(out, &gomod); err != nil {
		return nil, err
	}
	for _, r := range gomod.Replace {
		if r.Old.Path != badgercopy.Module || r.New.Version != "" {
			continue
		}
		dir := r.New.Path
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(m.dir, dir)
		}
		if _, err := os.Stat(dir); err == nil && !badgercopy.IsCopy(dir) {
			continue
		}
		if r.Old.Version == "" {
			old = append(old, r.Old.Path)
		} else {
			old = append(old, r.Old.Path+"@"+r.Old.Version)
		}
	}
	return old, nil
}

// findModule returns the module here. If its go.mod is to be changed whatever is in the way of that
// is an error. Another version of Badger is one in any case.
func findModule(ctx context.Context, change bool) (module, error) {
	user, err := here(ctx)
	if err != nil {
		return user, err
	}
	if user.dir == "" {
		if change {
			return user, errNoModule
		}
		return user, nil
	}
	gomod := filepath.Join(user.dir, "go.mod")
	out, err := badgercopy.Go(ctx, user.dir, "list", "-m", "-mod=readonly",
		"-f", "{{.Version}} {{with .Replace}}{{.Dir}}{{end}}", badgercopy.Module)
	version, replaced, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	switch {
	case err == nil && version != badgercopy.Version:
		return user, fmt.Errorf("%s uses Badger %s, and this command knows %s only: run go get %s",
			gomod, version, badgercopy.Version, versioned)
	case !change:
		return user, nil
	case err != nil:
		return user, fmt.Errorf("%s does not use Badger: run go get %s (%w)", gomod, versioned, err)
	case replaced != "" && !badgercopy.IsCopy(replaced):
		return user, fmt.Errorf("%s replaces Badger by %s, which badgerpatch has not made: take that line out first", gomod, replaced)
	}
	return user, user.changeable(ctx)
}

// changeable returns an error if a replace line in go.mod would not be followed.
func (m module) changeable(ctx context.Context) error {
	if m.work != "" {
		return fmt.Errorf("a workspace is in force, %s: call without -replace and run the go work edit that it prints, or set GOWORK=off", m.work)
	}
	flags, err := badgercopy.Env(ctx, m.dir, "GOFLAGS")
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(m.dir, "vendor", "modules.txt")); err == nil || strings.Contains(flags, "-mod=vendor") {
		return fmt.Errorf("%s is vendored: call without -replace, run the go mod edit that it prints, then go mod vendor", m.dir)
	}
	return nil
}

// pathTo is how go.mod names dir: from itself if dir is in the module or beside it.
func (m module) pathTo(dir string) string {
	if m.dir == "" {
		return dir
	}
	rel, err := filepath.Rel(m.dir, dir)
	if err != nil || strings.HasPrefix(filepath.ToSlash(rel), "../../") {
		return dir
	}
	rel = filepath.ToSlash(rel)
	if !strings.HasPrefix(rel, "../") {
		rel = "./" + rel
	}
	return rel
}
