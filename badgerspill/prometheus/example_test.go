package prometheus_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/badgerspill/badgerspill/badgerspill"
)

// metricsHandler serves the metrics of all open databases to Prometheus.
func metricsHandler() http.Handler {
	exports := map[string]*prometheus.Desc{}
	for _, m := range badgerspill.Metrics() {
		exports[m.Name] = prometheus.NewDesc(m.Name, m.Help, m.Labels, nil)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewExpvarCollector(exports))
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}

// Prometheus reads the expvars through its collector; each has the label dir, the database's
// directory. A program serves the handler under /metrics.
func Example() {
	dir, err := os.MkdirTemp("", "badgerspill")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	db, err := badgerspill.Open(badgerspill.DefaultOptions(dir).WithLogger(nil))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	if err := db.Update(func(txn *badgerspill.Txn) error { return txn.Set([]byte("k"), []byte("v")) }); err != nil {
		log.Fatal(err)
	}

	scrape := httptest.NewRecorder()
	metricsHandler().ServeHTTP(scrape, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for line := range strings.Lines(scrape.Body.String()) {
		if strings.HasPrefix(line, "badgerspill_commits_direct") {
			fmt.Print(strings.ReplaceAll(line, dir, "/var/lib/app"))
		}
	}
	// Output: badgerspill_commits_direct{dir="/var/lib/app"} 1
}
