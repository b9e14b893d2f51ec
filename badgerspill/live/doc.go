// Package live is a page that shows a database while it runs, for a browser: health, memory tier,
// rates, the spill, replay, latency, disk, the oldest reader and the last events, drawn over the
// last five minutes.
//
//	mux.Handle("/debug/badgerspill/", live.Handler(db))
//
// Serve it where only those come who may see it, beside pprof on localhost for instance: it asks
// for no password. It is read-only, and shows no key and no value. It does show the directory and
// the text of errors, with names of files in it.
//
// # Addresses
//
// The handler does not look at the path, so it works under any, with or without http.StripPrefix.
// It answers GET and HEAD. Each request gets the whole page, which loads nothing else. With
// JavaScript the page asks for itself once a second and takes over what has changed. Without, the
// browser loads it again every five seconds, with the same drawings and the same table. The query
// "?json" gives the numbers as JSON:
//
//	time      when they were taken, as RFC 3339
//	dir       the directory of the database
//	state     "open", "closing" or "closed"
//	summary   how it is, in a sentence
//	numbers   what the table has, by name; bytes, seconds, and those a second
//	points    what is drawn, a second each, oldest first
//	events    what happened last, oldest first: DB.RecentEvents
//
// # What it costs
//
// The handler takes the numbers once a second, whether nobody looks or many: DB.SpillStats,
// DB.DiskSpace and what is as cheap. So the page has a past when it is opened. It keeps 300 seconds
// of them, about 120 KiB, and no goroutine in between. It ends by itself: once the database is
// closed, which it does not keep alive then, or once nobody holds the handler any more. A page is
// made at most once a second, when somebody asks for it.
package live
