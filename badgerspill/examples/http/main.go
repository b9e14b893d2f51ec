package main

import (
	"context"
	"errors"
	"expvar"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	badger "github.com/badgerspill/badgerspill/badgerspill"
)

const (
	maxValue = 1 << 20 // of a value in bytes; a transaction holds some MiB
	// maxWait is how long a write waits for room before its client is told to come again.
	maxWait = 5 * time.Second
	// The grace period of the process must be longer than both together.
	shutdownLimit = 10 * time.Second // for requests that are under way
	closeLimit    = 10 * time.Second // for the database
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: http DIR ADDRESS")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1], os.Args[2], os.Stdout)
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

// run serves a database until the context ends.
func run(ctx context.Context, dir, address string, out io.Writer) error {
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil)).With("dir", dir)
	db, err := badger.Open(badger.DefaultOptions(dir).
		WithLogger(badger.NewSlogLogger(logger)).
		WithEventListener(badger.NewSlogListener(logger)).
		WithKeepSpillOnClose(true)) // the next start replays it, and is as fast
	if err != nil {
		return err
	}
	err = serve(ctx, db, address, out)
	closing, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	return errors.Join(err, db.CloseContext(closing))
}

func serve(ctx context.Context, db *badger.DB, address string, out io.Writer) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "listening on", listener.Addr())
	server := &http.Server{Handler: handler(db), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	ending, cancel := context.WithTimeout(context.Background(), shutdownLimit)
	defer cancel()
	return server.Shutdown(ending)
}

func handler(db *badger.DB) http.Handler {
	s := service{db}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /keys/{key...}", s.get)
	mux.HandleFunc("PUT /keys/{key...}", s.put)
	mux.HandleFunc("DELETE /keys/{key...}", s.remove)
	mux.HandleFunc("GET /ready", s.ready)
	mux.Handle("GET /debug/vars", expvar.Handler())
	return mux
}

type service struct{ db *badger.DB }

func (s service) get(w http.ResponseWriter, r *http.Request) {
	var value []byte
	err := s.db.View(func(txn *badger.Txn) error {
		item, err := txn.Get([]byte(r.PathValue("key")))
		if err != nil {
			return err
		}
		value, err = item.ValueCopy(nil) // sent after the transaction, as the client may be slow
		return err
	})
	if err != nil {
		refuse(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = w.Write(value) // an error is the client's
}

func (s service) put(w http.ResponseWriter, r *http.Request) {
	value, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxValue))
	if err != nil {
		refuse(w, err)
		return
	}
	s.update(w, r, func(txn *badger.Txn) error { return txn.Set([]byte(r.PathValue("key")), value) })
}

func (s service) remove(w http.ResponseWriter, r *http.Request) {
	s.update(w, r, func(txn *badger.Txn) error { return txn.Delete([]byte(r.PathValue("key"))) })
}

// update commits what fn writes. What fn reads would be checked for conflicts, and then it would
// have to be tried again after ErrConflict.
func (s service) update(w http.ResponseWriter, r *http.Request, fn func(*badger.Txn) error) {
	ctx, cancel := context.WithTimeout(r.Context(), maxWait)
	defer cancel()
	if err := s.db.UpdateContext(ctx, fn); err != nil {
		refuse(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// ready tells whether this instance should get requests. A burst is no reason why not: commits go
// to the spill. That replay has stopped is one, since the spill only grows then.
func (s service) ready(w http.ResponseWriter, _ *http.Request) {
	if err := s.db.Health(); err != nil {
		refuse(w, err)
		return
	}
	fmt.Fprintln(w, "ready")
}

// refuse answers with the status that says whose the fault is.
func refuse(w http.ResponseWriter, err error) {
	var tooLarge *http.MaxBytesError
	var unhealthy *badger.HealthError
	status := http.StatusInternalServerError
	switch {
	case errors.Is(err, badger.ErrKeyNotFound):
		status = http.StatusNotFound
	case errors.Is(err, badger.ErrEmptyKey), errors.Is(err, badger.ErrInvalidKey):
		status = http.StatusBadRequest
	case errors.As(err, &tooLarge):
		status = http.StatusRequestEntityTooLarge
	case errors.Is(err, badger.ErrWriteBlocked), errors.Is(err, badger.ErrNoSpace), errors.As(err, &unhealthy),
		errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		w.Header().Set("Retry-After", "1")
		status = http.StatusServiceUnavailable
	}
	http.Error(w, err.Error(), status)
}
