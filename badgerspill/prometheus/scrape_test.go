package prometheus_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
)

// A scrape has every metric of every open database, and none of a closed one.
func TestPrometheusScrape(t *testing.T) {
	scrape := func() string {
		w := httptest.NewRecorder()
		metricsHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		require.Equal(t, http.StatusOK, w.Code, w.Body.String())
		return w.Body.String()
	}
	var dirs []string
	for range 2 {
		dir := t.TempDir()
		db, err := badgerspill.Open(badgerspill.DefaultOptions(dir).WithLogger(nil).WithSpillPolicy(badgerspill.Always))
		require.NoError(t, err)
		defer db.Close()
		require.NoError(t, db.Update(func(txn *badgerspill.Txn) error { return txn.Set([]byte("k"), []byte("v")) }))
		dirs = append(dirs, dir)
	}
	text := scrape()
	for _, dir := range dirs {
		for _, m := range badgerspill.Metrics() {
			labels := fmt.Sprintf(`dir="%s"`, regexp.QuoteMeta(dir))
			if len(m.Labels) > 1 { // in alphabetical order
				second := m.Labels[1] + `="[^"]+"`
				if second < labels {
					labels = second + "," + labels
				} else {
					labels += "," + second
				}
			}
			require.Regexp(t, fmt.Sprintf(`(?m)^%s\{%s\} [0-9.e+-]+$`, m.Name, labels), text)
		}
	}
	require.Contains(t, text, fmt.Sprintf("badgerspill_append_buckets{dir=%q,le=\"+Inf\"} 1\n", dirs[0]))
	require.Contains(t, text, fmt.Sprintf("badgerspill_spill_starts{cause=\"policy\",dir=%q} 1\n", dirs[0]))

	dir := t.TempDir()
	db, err := badgerspill.Open(badgerspill.DefaultOptions(dir).WithLogger(nil))
	require.NoError(t, err)
	require.Contains(t, scrape(), dir)
	require.NoError(t, db.Close())
	require.NotContains(t, scrape(), dir)
}
