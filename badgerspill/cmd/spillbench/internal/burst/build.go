package burst

import (
	"runtime"
	"runtime/debug"

	"github.com/badgerspill/badgerspill/badgerspill"
)

// Build is what ran: the versions, and the platform.
type Build struct {
	Go          string `json:"go"`
	Badgerspill string `json:"badgerspill"` // "(devel)" in a build outside of version control
	Badger      string `json:"badger"`
	Pebble      string `json:"pebble,omitempty"` // if it is built in
	OS          string `json:"os"`
	Arch        string `json:"arch"`
	CPUs        int    `json:"cpus"` // that Go code may use at once
}

const pebbleModule = "github.com/cockroachdb/pebble/v2"

// ThisBuild describes this process.
func ThisBuild() Build {
	b := Build{Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.GOMAXPROCS(0)}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	b.Badgerspill, b.Badger = info.Main.Version, badgerspill.BadgerBuild().Version
	for _, m := range info.Deps {
		if m.Path == pebbleModule {
			b.Pebble = m.Version
			if m.Replace != nil && m.Replace.Version != "" {
				b.Pebble = m.Replace.Version
			}
		}
	}
	return b
}
