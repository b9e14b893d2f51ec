// Package browser tests the live page as a browser shows it: a headless Chromium, wide and narrow,
// light and dark, with and without JavaScript, on databases in all states. It has tests alone. They
// are skipped where there is no Chromium in PATH.
//
//	go test ./integration_test/browser -args -screenshots /tmp/screenshots
//
// keeps what they see, for eyes.
package browser
