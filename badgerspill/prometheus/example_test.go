package prometheus_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/badgerspill/badgerspill/badgerspill"
	spillprom "github.com/badgerspill/badgerspill/badgerspill/prometheus"
)

// metricsHandler serves the metrics of databases to Prometheus.
func metricsHandler(dbs ...*badgerspill.DB) (http.Handler, error) {
	registry := prometheus.NewRegistry()
	for _, db := range dbs {
		if err := registry.Register(spillprom.NewCollector(db)); err != nil {
			return nil, err
		}
	}
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{}), nil
}

// A program registers a collector for each of its databases, and serves the registry under
// /metrics.
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

	handler, err := metricsHandler(db)
	if err != nil {
		log.Fatal(err)
	}
	scrape := httptest.NewRecorder()
	handler.ServeHTTP(scrape, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for line := range strings.Lines(scrape.Body.String()) {
		if strings.HasPrefix(line, "badgerspill_commits_direct_total") {
			fmt.Print(strings.ReplaceAll(line, dir, "/var/lib/app"))
		}
	}
	// Output: badgerspill_commits_direct_total{dir="/var/lib/app"} 1
}

// Databases whose directories say little have labels of the program's own.
func ExampleWithConstLabels() {
	opt := badgerspill.DefaultOptions("").WithInMemory(true).WithLogger(nil)
	registry := prometheus.NewRegistry()
	for _, shard := range []string{"0", "1"} {
		db, err := badgerspill.Open(opt)
		if err != nil {
			log.Fatal(err)
		}
		defer db.Close()
		registry.MustRegister(spillprom.NewCollector(db, spillprom.WithConstLabels(prometheus.Labels{"shard": shard})))
	}
	families, err := registry.Gather()
	if err != nil {
		log.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == "badgerspill_up" {
			for _, m := range family.GetMetric() {
				fmt.Println(m.GetLabel()[1].GetValue(), m.GetGauge().GetValue())
			}
		}
	}
	// Output:
	// 0 1
	// 1 1
}
