package bench

import (
	"fmt"
	"slices"
	"time"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/text"
)

// Unit is what the value of a figure counts.
type Unit string

// The units.
const (
	Seconds   Unit = "s"
	Bytes     Unit = "B"
	PerSecond Unit = "1/s"
	Count     Unit = "1"
	Ratio     Unit = "ratio"
)

func (u Unit) text(value float64) string {
	switch u {
	case Seconds:
		return text.Duration(time.Duration(value * float64(time.Second)))
	case Bytes:
		return text.Bytes(int64(value))
	case PerSecond:
		return text.Rate(value)
	case Ratio:
		return digits(value)
	default:
		return text.Count(int64(value))
	}
}

// Figure is a number that a case measures for an engine.
type Figure struct {
	Key    string // in the results and in JSON
	Name   string // in the table
	Unit   Unit
	Wanted *Bound // nil if it is told for the sake of others
}

// Bound is what a figure should keep to.
type Bound struct {
	Ratio bool // of the ratio, otherwise of badgerspill's value
	Least bool // the value is the least that is wanted, otherwise the most
	Value float64
}

func ratioAtMost(value float64) *Bound  { return &Bound{Ratio: true, Value: value} }
func ratioAtLeast(value float64) *Bound { return &Bound{Ratio: true, Least: true, Value: value} }
func atMost(value float64) *Bound       { return &Bound{Value: value} }
func atLeast(value float64) *Bound      { return &Bound{Least: true, Value: value} }

func (b *Bound) text(unit Unit) string {
	value := ratioText(b.Value)
	if !b.Ratio {
		value = unit.text(b.Value)
	}
	if b.Least {
		return "at least " + value
	}
	return "at most " + value
}

// Row compares a figure. A value that an engine does not have, or that nothing can be divided by,
// is nil.
type Row struct {
	Figure      string   `json:"figure"`
	Unit        Unit     `json:"unit"`
	Badger      *float64 `json:"badger"`
	Badgerspill *float64 `json:"badgerspill"`
	Ratio       *float64 `json:"ratio"` // badgerspill's value by Badger's
	Wanted      string   `json:"wanted,omitempty"`
	Met         *bool    `json:"met,omitempty"`

	name string
}

// newRow compares two values.
func newRow(f Figure, badger, badgerspill *float64) Row {
	r := Row{Figure: f.Key, Unit: f.Unit, Badger: badger, Badgerspill: badgerspill, name: f.Name}
	if badger != nil && badgerspill != nil && *badger != 0 {
		ratio := *badgerspill / *badger
		r.Ratio = &ratio
	}
	return r
}

// judge fills in what was wanted.
func (r *Row) judge(b *Bound) {
	if b == nil {
		return
	}
	r.Wanted = b.text(r.Unit)
	value := r.Badgerspill
	if b.Ratio {
		value = r.Ratio
	}
	if value != nil {
		met := *value <= b.Value
		if b.Least {
			met = *value >= b.Value
		}
		r.Met = &met
	}
}

// median returns the median of those values that are there, nil if none is. Of an even number it is
// the mean of the middle two.
func median(values []*float64) *float64 {
	var there []float64
	for _, v := range values {
		if v != nil {
			there = append(there, *v)
		}
	}
	if len(there) == 0 {
		return nil
	}
	slices.Sort(there)
	middle := (there[(len(there)-1)/2] + there[len(there)/2]) / 2
	return &middle
}

// medians sums rows of the same figure up: each column by itself, so the ratio is the median of the
// ratios.
func medians(f Figure, rows []Row) Row {
	m := Row{
		Figure: f.Key, Unit: f.Unit, name: f.Name,
		Badger:      median(column(rows, func(r Row) *float64 { return r.Badger })),
		Badgerspill: median(column(rows, func(r Row) *float64 { return r.Badgerspill })),
		Ratio:       median(column(rows, func(r Row) *float64 { return r.Ratio })),
	}
	m.judge(f.Wanted)
	return m
}

func column(rows []Row, of func(Row) *float64) []*float64 {
	var values []*float64
	for _, r := range rows {
		values = append(values, of(r))
	}
	return values
}

func ratioText(ratio float64) string { return digits(ratio) + "x" }

func digits(ratio float64) string {
	if ratio < 0.0995 {
		return fmt.Sprintf("%.4f", ratio)
	}
	return text.Digits(ratio)
}
