package badgerspill

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"time"
)

// NewSlogLogger returns a Logger for Options.Logger that passes lines to a slog.Logger: those of
// Badger and of the layer as they are, without the newline at their end. Badger's levels are slog's
// Error, Warn, Info and Debug, in this order; for a level that is not enabled nothing is formatted.
// A nil logger gives a nil Logger, which is that of no lines. It blocks as long as the handler
// does, and is safe for concurrent use. Badger calls it under locks, so the handler must not use
// the database.
func NewSlogLogger(to *slog.Logger) Logger {
	if to == nil {
		return nil
	}
	return slogLogger{to}
}

type slogLogger struct{ to *slog.Logger }

func (l slogLogger) log(level slog.Level, format string, args []any) {
	if ctx := context.Background(); l.to.Enabled(ctx, level) {
		l.to.Log(ctx, level, strings.TrimRight(fmt.Sprintf(format, args...), "\r\n"))
	}
}

// Errorf implements Logger.
func (l slogLogger) Errorf(format string, args ...any) { l.log(slog.LevelError, format, args) }

// Warningf implements Logger.
func (l slogLogger) Warningf(format string, args ...any) { l.log(slog.LevelWarn, format, args) }

// Infof implements Logger.
func (l slogLogger) Infof(format string, args ...any) { l.log(slog.LevelInfo, format, args) }

// Debugf implements Logger.
func (l slogLogger) Debugf(format string, args ...any) { l.log(slog.LevelDebug, format, args) }

// NewSlogListener returns a listener that logs every event to a slog.Logger. The message is the
// name of the event in words, as "badgerspill: hand over", and each field of what it carries is an
// attribute, as held. Sizes are numbers of bytes, durations are of kind Duration, causes, states
// and tiers are words; an error that is nil has no attribute. No attribute has a key or a value of
// the database's. Which database it is the logger has to know: to.With("dir", dir).
//
// At level info are the events that NewLoggingListener logs. All others are at level debug, among
// them those that the layer logs through Options.Logger, at their own level, whether or not
// somebody listens: HealthChange, BackgroundError, commits that wait. Of each event at most five
// pass in ten seconds at each level; the next one has an attribute left_out, with how many did not.
// A nil logger gives a listener of nothing. One listener may serve several databases, but then
// their events are limited together. It is safe for concurrent use.
func NewSlogListener(to *slog.Logger) *EventListener {
	if to == nil {
		return &EventListener{}
	}
	return (&slogListener{to: to, notable: notable{now: time.Now}}).listener()
}

type slogListener struct {
	notable

	to *slog.Logger
}

// listener listens to all events that there are, those that will be added as well.
func (l *slogListener) listener() *EventListener {
	var all EventListener
	fields := reflect.ValueOf(&all).Elem()
	for i := range fields.NumField() {
		event := fields.Type().Field(i).Name
		fields.Field(i).Set(reflect.MakeFunc(fields.Field(i).Type(), func(args []reflect.Value) []reflect.Value {
			l.log(event, args[0])
			return nil
		}))
	}
	return &all
}

func (l *slogListener) log(event string, info reflect.Value) {
	ctx, level := context.Background(), l.level(event, info.Interface())
	if !l.to.Enabled(ctx, level) {
		return
	}
	left, ok := l.lines.Count(event + level.String())
	if !ok {
		return
	}
	attrs := attributes(info)
	if left > 0 {
		attrs = append(attrs, slog.Int("left_out", left))
	}
	l.to.LogAttrs(ctx, level, "badgerspill: "+strings.ReplaceAll(snakeCase(event), "_", " "), attrs...)
}

func (l *slogListener) level(event string, info any) slog.Level {
	notable := false
	switch event {
	case "TierChange":
		notable = l.tierChange(info.(TierChangeInfo))
	case "StallEnd", "SpillBegin", "HandOver", "ReplayEnd":
		notable = true
	case "ReplayBegin":
		l.replayBegan()
		notable = true
	case "ReplayProgress":
		notable = l.replayProgress()
	}
	if notable {
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

// attributes returns the fields of what an event carries.
func attributes(info reflect.Value) (attrs []slog.Attr) {
	for i := range info.NumField() {
		name, field := snakeCase(info.Type().Field(i).Name), info.Field(i)
		if field.Kind() == reflect.Interface && field.IsNil() {
			continue
		}
		switch x := field.Interface().(type) {
		case error:
			attrs = append(attrs, slog.Any(name, withoutKey(x)))
		case time.Duration:
			attrs = append(attrs, slog.Duration(name, x))
		case fmt.Stringer:
			attrs = append(attrs, slog.String(name, x.String()))
		default:
			attrs = append(attrs, slog.Any(name, x))
		}
	}
	return attrs
}

// withoutKey returns what is wrong, and not with which of the user's keys.
func withoutKey(err error) error {
	var about *keyError
	if errors.As(err, &about) {
		return about.err
	}
	return err
}
