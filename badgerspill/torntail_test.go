package badgerspill

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

type linesLogger struct {
	mu    sync.Mutex
	lines []string
}

func (l *linesLogger) add(level, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, level+" "+fmt.Sprintf(format, args...))
}

func (l *linesLogger) Errorf(f string, a ...any)   { l.add("error", f, a...) }
func (l *linesLogger) Warningf(f string, a ...any) { l.add("warning", f, a...) }
func (l *linesLogger) Infof(f string, a ...any)    { l.add("info", f, a...) }
func (l *linesLogger) Debugf(f string, a ...any)   {}

// What a kill leaves of a commit is an ordinary event: one line for information, without the words
// of damage, and no event of an error.
func TestTornTailIsToldAsOrdinary(t *testing.T) {
	dir := t.TempDir()
	opt := testOptions(dir).WithSpillPolicy(Always).WithDrainOnClose(false)
	db, err := Open(opt)
	require.NoError(t, err)
	for i := range 5 {
		require.NoError(t, db.Update(func(txn *Txn) error { return txn.Set(fmt.Append(nil, i), []byte("value")) }))
	}
	left := filepath.Join(t.TempDir(), "killed")
	require.NoError(t, os.CopyFS(left, os.DirFS(dir)))
	require.NoError(t, db.Close())
	segment := filepath.Join(left, "spill", "0000000001.seg")
	info, err := os.Stat(segment)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(segment, info.Size()-3))

	log := new(linesLogger)
	var errs []BackgroundErrorInfo
	db, err = Open(testOptions(left).WithLogger(log).WithEventListener(&EventListener{BackgroundError: func(e BackgroundErrorInfo) { errs = append(errs, e) }}))
	require.NoError(t, err)
	require.NoError(t, db.Close())
	require.Empty(t, errs)
	log.mu.Lock()
	defer log.mu.Unlock()
	told := 0
	for _, line := range log.lines {
		if !strings.Contains(line, "badgerspill: ") {
			continue
		}
		line = strings.ReplaceAll(line, left, "DIR")
		require.NotRegexp(t, `(?i)corrupt|damage|torn|truncat|cut off|lost|checksum|error`, line)
		if strings.Contains(line, "were being written when") {
			told++
			require.Regexp(t, "^info ", line)
		}
	}
	require.Equal(t, 1, told, "%q", log.lines)
}
