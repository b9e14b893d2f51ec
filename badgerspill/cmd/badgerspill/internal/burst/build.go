package burst

import (
	"runtime"
	"runtime/debug"
)

// Build is what ran: the versions, and the platform.
type Build struct {
	Go          string `json:"go"`
	Badgerspill string `json:"badgerspill"` // "(devel)" in a build outside of version control
	Badger      string `json:"badger"`
	OS          string `json:"os"`
	Arch        string `json:"arch"`
	CPUs        int    `json:"cpus"` // that Go code may use at once
}

const badgerModule = "github.com/dgraph-io/badger/v4"

// ThisBuild describes this process.
func ThisBuild() Build {
	b := Build{Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.GOMAXPROCS(0)}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	b.Badgerspill = info.Main.Version
	for _, m := range info.Deps {
		if m.Path != badgerModule {
			continue
		}
		if m.Replace != nil {
			m = m.Replace
		}
		b.Badger = m.Version
	}
	return b
}
