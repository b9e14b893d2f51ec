package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	badger "github.com/badgerspill/badgerspill/badgerspill"
)

// start runs the service as main does, and returns its address and what ends it.
func start(t *testing.T, dir string) (url string, end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	read, write := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, dir, "127.0.0.1:0", write)
		write.CloseWithError(errors.Join(err, io.EOF))
		ended <- err
	}()
	line, err := bufio.NewReader(read).ReadString('\n')
	require.NoError(t, err)
	address, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	require.True(t, ok, line)
	return "http://" + address, func() {
		cancel()
		require.NoError(t, <-ended)
	}
}

func request(t *testing.T, method, url string, body []byte) (status int, answer string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, strings.TrimSpace(string(text))
}

func TestService(t *testing.T) {
	dir := t.TempDir()
	url, end := start(t, dir)
	for _, row := range []struct {
		method, path string
		body         []byte
		status       int
		answer       string
	}{
		{"GET", "/ready", nil, 200, "ready"},
		{"GET", "/keys/a/b", nil, 404, "Key not found"},
		{"PUT", "/keys/a/b", []byte("value"), 204, ""},
		{"GET", "/keys/a/b", nil, 200, "value"},
		{"DELETE", "/keys/a/b", nil, 204, ""},
		{"GET", "/keys/a/b", nil, 404, "Key not found"},
		{"PUT", "/keys/", []byte("value"), 400, badger.ErrEmptyKey.Error()},
		{"PUT", "/keys/!badger!x", []byte("value"), 400, badger.ErrInvalidKey.Error()},
		{"PUT", "/keys/large", make([]byte, maxValue+1), 413, "http: request body too large"},
		{"PUT", "/keys/largest", make([]byte, maxValue), 204, ""},
		{"POST", "/keys/a", nil, 405, "Method Not Allowed"},
	} {
		status, answer := request(t, row.method, url+row.path, row.body)
		require.Equal(t, row.status, status, "%s %s: %s", row.method, row.path, answer)
		require.Equal(t, row.answer, answer, "%s %s", row.method, row.path)
	}
	_, vars := request(t, "GET", url+"/debug/vars", nil)
	require.Contains(t, vars, "badgerspill_commits_")
	status, _ := request(t, "PUT", url+"/keys/kept", []byte("over a restart"))
	require.Equal(t, 204, status)
	end()

	url, end = start(t, dir)
	_, answer := request(t, "GET", url+"/keys/kept", nil)
	require.Equal(t, "over a restart", answer)
	end()
}

// What a client can do nothing about is 503, and says when to come again.
func TestRefuse(t *testing.T) {
	for _, err := range []error{
		badger.ErrWriteBlocked, fmt.Errorf("commit: %w", badger.ErrNoSpace), context.DeadlineExceeded, &badger.HealthError{Err: io.EOF},
	} {
		w := httptest.NewRecorder()
		refuse(w, err)
		require.Equal(t, http.StatusServiceUnavailable, w.Code, err)
		require.Equal(t, "1", w.Header().Get("Retry-After"))
	}
	w := httptest.NewRecorder()
	refuse(w, io.ErrUnexpectedEOF)
	require.Equal(t, http.StatusInternalServerError, w.Code)
}

// An address that cannot be had is an error, and the database is closed.
func TestAddressInUse(t *testing.T) {
	url, end := start(t, t.TempDir())
	defer end()
	dir := t.TempDir()
	require.Error(t, run(t.Context(), dir, strings.TrimPrefix(url, "http://"), io.Discard))
	_, endAgain := start(t, dir)
	endAgain()
}
