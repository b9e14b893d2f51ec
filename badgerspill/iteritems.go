package badgerspill

import (
	"math"

	"github.com/dgraph-io/badger/v4"
)

// keptItems is how many items of one iterator Badger keeps apart: as many as it reads ahead.
func keptItems(opt *IteratorOptions) int {
	if opt.PrefetchValues && opt.PrefetchSize > 1 {
		return min(opt.PrefetchSize, math.MaxInt-1)
	}
	return 2
}

// itemRing holds the items of an iterator that merges. Each is used again, with its memory, after
// size-1 others were given to the user. So there is one more than the iterator keeps: the spare one
// is filled before it is known whether the iteration goes on.
type itemRing struct {
	size  int
	slots []*Item
	at    int // of the spare item
}

// spare returns the item to be filled next.
func (r *itemRing) spare() *Item {
	if r.at == len(r.slots) {
		r.slots = append(r.slots, newOwnItem())
	}
	return r.slots[r.at]
}

// take returns the spare item, which the iterator gives out.
func (r *itemRing) take() *Item {
	item := r.slots[r.at]
	r.at++
	if r.at == r.size {
		r.at = 0
	}
	return item
}

// untake makes the place of the item that was taken last the spare one again. If the user has that
// item, another takes the place.
func (r *itemRing) untake(given bool) {
	if r.at == 0 {
		r.at = r.size
	}
	r.at--
	if given {
		r.slots[r.at] = newOwnItem()
	}
}

// wrappers stand for the items of an iterator of Badger, one for each. Badger uses its items again
// in the order in which they were passed, so the next wrapper is mostly that of the next item.
type wrappers struct {
	most  int // how many items Badger uses in turn
	slots []wrapper
	at    int
	chunk []Item // not used yet
	made  int
}

type wrapper struct {
	inner *badger.Item
	item  *Item
}

// maxWrapperChunk is how many are made in one piece at most: who keeps one of them keeps all.
const maxWrapperChunk = 64

// of returns the wrapper of the current item.
func (w *wrappers) of(in *badger.Item) *Item {
	if w.at < len(w.slots) && w.slots[w.at].inner == in {
		return w.slots[w.at].item
	}
	if w.at++; w.at >= w.most {
		w.at = 0
	}
	if w.at < len(w.slots) && w.slots[w.at].inner == in {
		return w.slots[w.at].item
	}
	return w.add(in)
}

// add makes the wrapper of in, at its place or in the place of one that the user may have still.
func (w *wrappers) add(in *badger.Item) *Item {
	if len(w.chunk) == 0 {
		w.chunk = make([]Item, min(max(1, w.made), maxWrapperChunk))
		w.made += len(w.chunk)
	}
	item := &w.chunk[0]
	w.chunk = w.chunk[1:]
	item.inner = in
	if w.at >= len(w.slots) {
		w.at = len(w.slots)
		w.slots = append(w.slots, wrapper{in, item})
	} else {
		w.slots[w.at] = wrapper{in, item}
	}
	return item
}
