package workdir

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
)

// Restore makes the user's directory the working directory, if that is the program's own module
// directory and the shell says that the user is elsewhere. Call it before anything looks at paths.
//
// The go command changes its directory for -C and leaves PWD as the shell has set it. The shells of
// Windows set none: there a relative path means the module's directory. In every other case, an
// installed program above all, the working directory is the user's, whatever PWD says.
func Restore() error {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return nil
	}
	dir := elsewhere(info.Main.Path, os.Getenv("PWD"))
	if dir == "" {
		return nil
	}
	if err := os.Chdir(dir); err != nil {
		return fmt.Errorf("go back to the directory that PWD names: %w", err)
	}
	return nil
}

// elsewhere returns pwd if the working directory is that of the module and pwd another one, else
// "".
func elsewhere(module, pwd string) string {
	mod, err := os.ReadFile("go.mod")
	if err != nil || !filepath.IsAbs(pwd) {
		return ""
	}
	if line, _, _ := strings.Cut(string(mod), "\n"); strings.TrimSpace(line) != "module "+module {
		return ""
	}
	here, err := os.Stat(".")
	if err != nil {
		return ""
	}
	if there, err := os.Stat(pwd); err == nil && (!there.IsDir() || os.SameFile(here, there)) {
		return ""
	}
	return pwd
}
