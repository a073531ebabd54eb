package packager

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"headwater/cmaf"
)

// ErrFeedOver is returned to who feeds a packager that has ended.
var ErrFeedOver = errors.New("packager: it has ended")

// A Feed is a source whose tracks come each by itself, from several goroutines:
// those of an encoder that sends each over a connection of its own. What it is
// given has the event's decode times. It is of one packager, whose Run reads it;
// who feeds it waits while that has not begun, or is behind.
type Feed struct {
	begun, ended chan struct{}
	out          chan *segment
	once         sync.Once
	telling      telling

	// Set before begun is closed.
	newSplitter func(explicit map[uint32]string) *splitter
}

// NewFeed returns one for Config.Feed.
func NewFeed() *Feed {
	return &Feed{begun: make(chan struct{}), ended: make(chan struct{}), out: make(chan *segment)}
}

// Stream begins a stream of one or more tracks, given by which rendition each
// is: those that are not named are left out.
func (f *Feed) Stream(tracks map[uint32]string) *FeedStream {
	return &FeedStream{feed: f, tracks: tracks, turn: make(chan struct{}, 1)}
}

// Close ends the source: the packager sends what it has, and its Run returns.
func (f *Feed) Close() { f.once.Do(func() { close(f.ended) }) }

// begin is for Run.
func (f *Feed) begin(newSplitter func(explicit map[uint32]string) *splitter) {
	f.newSplitter = newSplitter
	close(f.begun)
}

// Next implements source.
func (f *Feed) Next() (*segment, error) {
	select {
	case seg := <-f.out:
		return seg, nil
	case <-f.ended:
		return nil, io.EOF
	}
}

// A FeedStream is one stream of a Feed.
type FeedStream struct {
	feed   *Feed
	tracks map[uint32]string
	turn   chan struct{} // full while one of the following runs

	// Of who has the turn.
	splitter *splitter
	heard    int // of what the feed was told
}

// Take cuts a part of the stream, an init segment first, and returns when the
// packager has what is complete. An error that wraps ErrFeedOver or is ctx's says
// nothing of the part; any other is about it, and the stream goes on with the next.
func (s *FeedStream) Take(ctx context.Context, p *cmaf.Part) error {
	return s.do(ctx, func() error {
		if p.Init == nil && len(s.splitter.inits) == 0 {
			return fmt.Errorf("%w: a fragment before any init segment", ErrInput)
		}
		if events, now := s.feed.telling.since(s.heard); p.Init == nil && s.splitter.hears() {
			s.splitter.told, s.heard = merge(s.splitter.told, events), now
		}
		return s.splitter.part(p)
	})
}

// Flush has what was gathered sent: nothing more comes, or something else does.
func (s *FeedStream) Flush(ctx context.Context) error {
	return s.do(ctx, func() error { s.splitter.flush(); return nil })
}

func (s *FeedStream) do(ctx context.Context, f func() error) error {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if s.splitter == nil {
		select {
		case <-s.feed.begun:
			s.splitter = s.feed.newSplitter(s.tracks)
		case <-s.feed.ended:
			return ErrFeedOver
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	err := f()
	ready := s.splitter.ready
	s.splitter.ready = nil
	for _, seg := range ready {
		select {
		case s.feed.out <- seg:
		case <-s.feed.ended:
			return ErrFeedOver
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if err == nil {
		err, s.splitter.err = s.splitter.err, nil
	}
	return err
}
