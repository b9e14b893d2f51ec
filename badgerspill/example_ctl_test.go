package badgerspill_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/badgerspill/badgerspill/badgerspill"
)

// Where the time of a commit went.
func ExampleTxn_Measure() {
	db, closeAndRemove := openTemp()
	defer closeAndRemove()

	var s badgerspill.CommitStats
	err := db.Update(func(txn *badgerspill.Txn) error {
		txn.Measure(&s)
		return txn.Set([]byte("key"), []byte("value"))
	})
	if err != nil {
		log.Fatal(err)
	}
	sum := s.Conflict + s.Room + s.Encode + s.Queue + s.Append + s.Sync + s.Badger + s.Visible
	fmt.Println("the parts sum up:", sum == s.Total, "answered:", s.AnsweredBy != badgerspill.AnsweredByNobody)
	// Output: the parts sum up: true answered: true
}

// A request that has a deadline gives it to its commit. With an error of the context nothing was
// written.
func ExampleDB_UpdateContext() {
	db, closeAndRemove := openTemp()
	defer closeAndRemove()

	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	set := func(txn *badgerspill.Txn) error { return txn.Set([]byte("key"), []byte("value")) }
	fmt.Println(db.UpdateContext(ctx, set))

	cancel()
	fmt.Println(errors.Is(db.UpdateContext(ctx, set), context.Canceled))
	// Output:
	// <nil>
	// true
}

// Less memory while a neighbour needs it.
func ExampleDB_SetMemoryLimit() {
	db, closeAndRemove := openTemp()
	defer closeAndRemove()

	if err := db.SetMemoryLimit(128 << 20); err != nil {
		log.Fatal(err)
	}
	fmt.Println(db.Opts().MemoryLimit >> 20)
	var bad *badgerspill.OptionError
	if errors.As(db.SetLimitRatios(0.9, 0.5), &bad) {
		fmt.Println(bad.Field, "must be", bad.Bound)
	}
	// Output:
	// 128
	// Tuning.SpillLimitRatio must be at least SoftLimitRatio, which is 0.9
}
